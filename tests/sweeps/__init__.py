"""Tests of the sweep files."""
