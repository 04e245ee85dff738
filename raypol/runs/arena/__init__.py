"""The arena: every attack against every policy, each attack adapted to each policy."""
