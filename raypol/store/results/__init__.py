"""Results of trials as Parquet: rows, the descriptions of their columns, files, queries."""
