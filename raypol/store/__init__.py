"""Proofs, spoofs and results as Parquet on any pyarrow filesystem. Knows neither Ray nor MLflow."""
