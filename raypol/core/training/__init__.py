"""Honest training: trainer, optimizers, prover."""
