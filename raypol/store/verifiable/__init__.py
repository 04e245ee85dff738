"""Folders of proofs by verifiable computation, and of the keys that they are made and judged with."""
