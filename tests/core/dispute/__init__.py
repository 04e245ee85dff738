"""Disputes in this process."""
