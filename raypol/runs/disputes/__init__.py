"""Disputes over a folder: a referee that asks, parties that answer, and a third person who repeats it all."""
