"""Where the work runs: devices asked for and found, Ray actors, and an in-process runner of the same interface."""
