"""Tests of raypol.runs.sweeps."""
