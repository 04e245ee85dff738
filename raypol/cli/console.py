"""The two consoles of the command line: results go to stdout, progress and errors to stderr."""

import logging
import sys
import warnings
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment

from raypol.report.tables import Table, terminal_text, to_terminal
from raypol.store.escaping import visible, visible_lines, without_secrets


class PlainConsole(Console):
    """A console whose text cannot steer the terminal, whoever wrote it and whoever forgot to escape it."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - rich's
        # No markup: the text comes from proofs and from users, whose brackets mean brackets.
        super().__init__(highlight=False, markup=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's; only rich's own segments may be control codes."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible_lines(segment.text), segment.style)


OUT: Final = PlainConsole()
ERR: Final = PlainConsole(stderr=True)
_LOG_WIDTH: Final = 180
"""Columns where there is no terminal to ask: tables in a log are not wrapped."""


def table_console(console: Console = OUT) -> Console:
    """The console itself on a terminal; otherwise one to the same file that is wide enough for tables."""
    if console.is_terminal:
        return console
    return PlainConsole(file=console.file, width=_LOG_WIDTH)


def say(*lines: str, style: str = "", console: Console = OUT, is_prose: bool = False) -> None:
    """Print lines; prose is wrapped on a terminal. Control characters in them, line breaks too, are made visible."""
    for line in lines:
        console.print(terminal_text(line), style=style, soft_wrap=not (is_prose and console.is_terminal))


def warn(message: str, console: Console = ERR) -> None:
    """Print a line that asks for attention."""
    say(message, style="yellow", console=console)


def say_address(address: str) -> None:
    """Print an address with the token that its reader needs; every other line hides tokens."""
    OUT.print(visible(address), soft_wrap=True)


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
    sys.stdout.write(shown_lines(text) + "\n")
    sys.stdout.flush()


def shown_lines(text: str) -> str:
    """Another library's text of several lines, such as a traceback, without control characters and secrets."""
    return visible_lines(without_secrets(text))


class _ShownLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return shown_lines(super().format(record))


def guard_logs() -> None:
    """Let lines of the log and warnings that nobody else handles be shown likewise."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_ShownLines())
    usual = warnings.formatwarning
    if usual.__module__ == "warnings":
        warnings.formatwarning = lambda *words, **more: shown_lines(usual(*words, **more))
