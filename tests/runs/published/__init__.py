"""Tests of raypol.runs.published."""
