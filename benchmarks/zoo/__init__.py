"""The zoo of bad proofs: `python -m benchmarks.zoo`."""
