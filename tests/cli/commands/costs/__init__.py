"""Tests of the commands about costs."""
