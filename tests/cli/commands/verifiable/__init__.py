"""Commands of proofs by verifiable computation."""
