"""Tests of raypol.figures.style."""
