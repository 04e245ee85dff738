"""Ratios that the README quotes, each taken in one process on one machine: `python -m benchmarks`."""
