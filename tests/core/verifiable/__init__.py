"""Proofs by verifiable computation."""
