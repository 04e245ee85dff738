"""Tests of raypol.figures.six_panels."""
