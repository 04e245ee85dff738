"""Devices asked for and found, runners, jobs."""
