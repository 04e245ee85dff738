"""Tests of raypol.store.proofs."""
