"""Rows of results in Parquet."""
