"""Tests of raypol.store.results."""
