"""Tests of raypol.runs.tracking."""
