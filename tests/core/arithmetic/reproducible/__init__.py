"""Tests of raypol.core.arithmetic.reproducible."""
