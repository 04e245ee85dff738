"""`raypol dispute` and what belongs to it."""
