"""Tests of raypol.core.verification."""
