"""Disputes as files."""
