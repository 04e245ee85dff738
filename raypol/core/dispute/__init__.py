"""A dispute about one declared training: two parties claim different outcomes, a referee replays one step and says who lies."""
