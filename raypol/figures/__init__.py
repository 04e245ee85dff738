"""Figures: rows in, figure out."""
