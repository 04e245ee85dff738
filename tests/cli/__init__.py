"""Tests of raypol.cli."""
