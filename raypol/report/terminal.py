"""Text that is safe to print on a terminal."""

from rich.text import Text


def plain(said: str) -> Text:
    """Words of a proof's or a user's as they are: brackets are no markup, and control characters cannot steer a terminal."""
    return Text("".join(c if c.isprintable() else repr(c)[1:-1] for c in said))
