"""Tests of raypol.store.published."""
