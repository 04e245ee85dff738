"""Proof of learning by verifiable computation: a linear model in integers, the circuit of one step, its public hashes."""
