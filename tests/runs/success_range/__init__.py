"""Tests of raypol.runs.success_range."""
