"""Tests of raypol.runs.trials."""
