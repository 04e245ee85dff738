"""A dispute as files: what the referee asks, what the parties answer, the one state, and the verdict."""
