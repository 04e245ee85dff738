"""One trial: prove, spoof, verify, score."""
