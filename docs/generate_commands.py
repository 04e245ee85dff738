"""Write docs/commands.md from what `--help` prints: `python docs/generate_commands.py`."""

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from raypol.cli.exit_codes import parse
from raypol.cli.main import ABOUT, COMMANDS, main
from raypol.cli.sweep_options import SweepCommand

PAGE = Path(__file__).with_name("commands.md")
WIDTH = 92
HEAD = f"""# Commands

{ABOUT}

This page is what `--help` prints. A results folder, a proof folder or a dataset's folder is a local path, or an address that
begins with `s3://` or `gs://` where the text says so. Results go to stdout, progress and errors to stderr.

| exit code | meaning |
|---|---|
| 0 | done; `verify`: accepted; a sweep: every trial ran |
| 1 | `verify`: rejected; a sweep: some trials failed, their rows say why |
| 2 | bad input, named in one line; `--debug` shows the traceback |
| 3 | failed for another reason; the traceback says which |
| 4 | a sweep that ended before all trials were run; the same command goes on |
| 130 | interrupted; the same command goes on |
"""


def commands_page() -> str:
    """The page: every command, then the options of sweep files."""
    parts = [HEAD]
    for name in COMMANDS:
        parts += _sections(name)
    about = 'Run the file\'s sweep. With run_sweep(SWEEP, search="range") the file has the options --policy to --scan-factor too.'
    parts.append(
        _section("Sweep files", _help(lambda: parse(SweepCommand, "python sweeps/FILE.py", about, ["--help"])))
    )
    return "\n".join(parts)


def _sections(name: str) -> Iterator[str]:
    """A command, and its subcommands."""
    text = _help(lambda: main([*name.split(), "--help"]))
    yield _section(f"raypol {name}", text)
    for subcommand in re.findall(r"^ +• (\w+)", text, flags=re.M):
        yield from _sections(f"{name} {subcommand}")


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def _help(show: Callable[[], object]) -> str:
    """The help text without its frames, the same on every machine."""
    environment = {name: value for name, value in os.environ.items() if name != "RAYPOL_RESULTS"}
    printed = StringIO()
    with (
        patch.dict(os.environ, {**environment, "COLUMNS": str(WIDTH)}, clear=True),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        show()
    lines = [_line(line) for line in printed.getvalue().splitlines() if not re.fullmatch(r" +-+ *", line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _line(line: str) -> str:
    """A line of help; the description, which is one long line, is wrapped."""
    return line.rstrip() if line.startswith(" ") else textwrap.fill(line, WIDTH)


if __name__ == "__main__":
    PAGE.write_text(commands_page())
    sys.stdout.write(f"{PAGE}\n")
