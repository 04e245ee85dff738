"""Making and judging proofs by verifiable computation; groth16py runs in a process of its own."""
