"""What standing results of the arena show, in sentences that each link to their rows."""
