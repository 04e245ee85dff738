"""Parquet files that may be hostile."""
