"""Proof folders in Parquet."""
