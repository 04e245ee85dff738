"""The two consoles of the command line: results go to stdout, progress and errors to stderr."""

import sys
from collections.abc import Iterable
from typing import Final

from rich.console import Console, Group

from raypol.report.tables import Table, terminal_text, to_terminal

# No markup: the text comes from proofs and from users, whose brackets mean brackets.
OUT: Final = Console(highlight=False, markup=False)
ERR: Final = Console(stderr=True, highlight=False, markup=False)
_LOG_WIDTH: Final = 180
"""Columns where there is no terminal to ask: tables in a log are not wrapped."""


def table_console(console: Console = OUT) -> Console:
    """The console itself on a terminal; otherwise one to the same file that is wide enough for tables."""
    if console.is_terminal:
        return console
    return Console(file=console.file, highlight=False, markup=False, width=_LOG_WIDTH)


def say(*lines: str, style: str = "", console: Console = OUT, is_prose: bool = False) -> None:
    """Print lines; prose is wrapped on a terminal. Control characters in them, line breaks too, are made visible."""
    for line in lines:
        console.print(terminal_text(line), style=style, soft_wrap=not (is_prose and console.is_terminal))


def warn(message: str, console: Console = ERR) -> None:
    """Print a line that asks for attention."""
    say(message, style="yellow", console=console)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print a line per fact, its name first."""
    say(*(f"{name:<16} {fact}" for name, fact in facts))


def print_tables(*tables: Table, console: Console = OUT) -> None:
    """Print tables, a blank line between them, unwrapped where there is no terminal."""
    out = table_console(console)
    parts = [part for table in tables for part in ("", to_terminal(table, width=out.width))]
    out.print(Group(*parts[1:]))


def print_last(text: str) -> None:
    """Print the line that scripts read: plain, unwrapped."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
