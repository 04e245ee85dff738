"""One trial: prove, spoof, verify, score, record; and runs of many trials."""
