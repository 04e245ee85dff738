"""Checks with evidence of their own, which is gathered only if a policy has them. `GATHER`: by check, the function that does."""
