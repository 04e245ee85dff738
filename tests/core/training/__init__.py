"""Tests of raypol.core.training."""
