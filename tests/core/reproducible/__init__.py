"""Tests of raypol.core.reproducible."""
