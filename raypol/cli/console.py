"""The two consoles of the command line: results go to stdout, progress and errors to stderr."""

from typing import Final

from rich.console import Console

# No markup: what is shown comes from proofs and from users, whose brackets mean brackets.
OUT: Final = Console(highlight=False, markup=False)
ERR: Final = Console(stderr=True, highlight=False, markup=False)
