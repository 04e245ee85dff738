"""Tests of raypol.runs."""
