"""Commands of proofs by verifiable computation: set-up, and what prove and verify do for policy vc."""
