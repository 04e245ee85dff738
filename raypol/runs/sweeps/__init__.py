"""Sweeps: design, plan, Ray Tune, record."""
