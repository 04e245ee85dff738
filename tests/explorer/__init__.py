"""Tests of raypol.explorer."""
