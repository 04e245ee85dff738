"""The two consoles of the command line: results go to stdout, progress and errors to stderr."""

import sys
from collections.abc import Iterable
from typing import Final

from rich.console import Console

from raypol.report.tables import terminal_text

# No markup: the text comes from proofs and from users, whose brackets mean brackets.
OUT: Final = Console(highlight=False, markup=False)
ERR: Final = Console(stderr=True, highlight=False, markup=False)
_LOG_WIDTH: Final = 180
"""Columns where there is no terminal to ask: tables in a log are not wrapped."""
_MAX_NAMES: Final = 6


def table_console(console: Console = OUT) -> Console:
    """The console itself on a terminal; otherwise one to the same file that is wide enough for tables."""
    if console.is_terminal:
        return console
    return Console(file=console.file, highlight=False, markup=False, width=_LOG_WIDTH)


def warn(message: str) -> None:
    """Print a line that asks for attention."""
    ERR.print(terminal_text(message), style="yellow", soft_wrap=True)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print a line per fact, its name first."""
    for name, fact in facts:
        OUT.print(terminal_text(f"{name:<16} {fact}"), soft_wrap=True)


def print_last(text: str) -> None:
    """Print the line that scripts read: plain, unwrapped."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def first_names(names: Iterable[str], most: int = _MAX_NAMES) -> str:
    """The first names, comma-separated, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
