"""`raypol arena` and what belongs to it."""
