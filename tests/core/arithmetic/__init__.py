"""Tests of raypol.core.arithmetic."""
