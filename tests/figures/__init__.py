"""Tests of raypol.figures."""
