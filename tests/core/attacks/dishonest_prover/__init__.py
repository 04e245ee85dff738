"""Tests of attacks of a prover who lies about the data."""
