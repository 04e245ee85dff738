"""Tests of raypol.report."""
