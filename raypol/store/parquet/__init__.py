"""Parquet files that may be hostile: what a file would unfold to, before it is decoded."""
