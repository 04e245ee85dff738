"""Disputes over folders."""
