"""The range of T' in which a spoof succeeds."""
