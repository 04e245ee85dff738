"""Attacks of a prover who did train, and lies about the data."""
