"""From arguments to an exit code, for every command line of raypol: bad input is one line and exit code 2."""

import io
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from itertools import groupby
from typing import Any, Final

import tyro

from raypol.cli.console import ERR, guard_logs, shown_lines
from raypol.core.errors import InputError
from raypol.report.tables import terminal_text

_FRAME: Final = re.compile(r"\x1b\[[0-9;]*m|[─-╿]|(?<=\s)-{8,}(?=\s|$)")  # the last in a terminal without UTF-8
_OF_A_CONFIG: Final = re.compile(r"^Error parsing [\w.]+: (?=expected )")
"""Tyro's words before a message of our own, which names the field."""


def parse(kind: Any, program: str, description: str | None, arguments: Sequence[str]) -> Any:  # noqa: ANN401
    """Parse a command line; a wrong one becomes one line and exit code 2.

    Args:
        kind: a dataclass, or a union of subcommands.
        program: name of the program as the user typed it.
        description: first paragraph of the help; None = the docstring of `kind`.
        arguments: words after the program's name.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences Ray's notice about CPU-only actors
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return tyro.cli(kind, prog=program, description=description, args=arguments)
    except SystemExit as end:
        if end.code != 2:  # --help
            sys.stderr.write(shown_lines(complaint.getvalue()))
            raise
        fail(f"{usage_error(complaint.getvalue())}; see {program} --help")
        sys.exit(2)


def guarded(run: Callable[[], int], *, debug: bool) -> int:
    """Run a command; returns its exit code, 2 for bad input, 130 for Ctrl-C, 3 for any other failure."""
    guard_logs()
    if debug:
        logging.getLogger("raypol").setLevel(logging.DEBUG)
    try:
        return run()
    except InputError as err:
        if debug:
            sys.stderr.write(shown_lines(traceback.format_exc()))
        fail(str(err))
        return 2
    except KeyboardInterrupt:
        ERR.print("interrupted; finished work is kept, run the same command again to go on", style="yellow")
        return 130
    except Exception:
        # Python's own exit code for this is 1, which would say that a proof was rejected.
        sys.stderr.write(shown_lines(traceback.format_exc()))
        return 3


def fail(message: str) -> None:
    """Print the one line that says what is wrong."""
    line = terminal_text(f"error: {' '.join(message.split())}")
    line.stylize("red")
    ERR.print(line, soft_wrap=True)


def usage_error(box: str) -> str:
    """Tyro's complaint, a box of several lines, as one line without its title and its reference to --help."""
    lines = [_FRAME.sub("", line).strip() for line in box.splitlines()[1:]]
    parts = [" ".join(part).rstrip(".") for ruled, part in groupby(lines, key=lambda line: not line) if not ruled]
    parts = [part for part in parts if not part.startswith("For full helptext")]
    problems = [_OF_A_CONFIG.sub("", part) for part in parts if not part.startswith("Perhaps you meant:")]
    nearest = " ".join(part for part in parts if part not in problems)
    options = dict.fromkeys(re.findall(r"(?<!\S)--(?!help\b)[a-z][a-z0-9-]*(?=[ ,])", nearest))
    return "; ".join([*problems, f"perhaps you meant {' or '.join(options)}"] if options else problems)
