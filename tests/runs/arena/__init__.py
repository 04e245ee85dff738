"""Tests of raypol.runs.arena."""
