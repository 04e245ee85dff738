"""Tests of raypol.figures.over_training."""
