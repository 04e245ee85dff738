"""Tests of the attacks' relatives."""
