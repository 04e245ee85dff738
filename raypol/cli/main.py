"""The command line, `raypol COMMAND`; the commands are the classes behind `Command`.

Exit codes: 0 done (verify: accepted), 1 rejected by verify, 2 bad input, 3 failed for another reason (the traceback tells),
130 interrupted. Results go to stdout, progress and errors to stderr.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import tyro

from raypol import __version__
from raypol.cli.commands.cluster import Cluster
from raypol.cli.commands.demo import Demo
from raypol.cli.commands.explore import Explore
from raypol.cli.commands.import_export import Export, Import
from raypol.cli.commands.join import Join
from raypol.cli.commands.models import Models
from raypol.cli.commands.plan import Plan
from raypol.cli.commands.prove import Prove
from raypol.cli.commands.range import Range
from raypol.cli.commands.relatives import Relatives
from raypol.cli.commands.report import ReportCommand
from raypol.cli.commands.spoof import Spoof
from raypol.cli.commands.sync import Sync
from raypol.cli.commands.top import Top
from raypol.cli.commands.verify import Verify
from raypol.cli.console import OUT
from raypol.cli.exit_codes import guarded, parse

Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Prove, tyro.conf.subcommand("prove")]
    | Annotated[Spoof, tyro.conf.subcommand("spoof")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Range, tyro.conf.subcommand("range")]
    | Annotated[Relatives, tyro.conf.subcommand("relatives")]
    | Annotated[Cluster, tyro.conf.subcommand("cluster")]
    | Annotated[Join, tyro.conf.subcommand("join")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[ReportCommand, tyro.conf.subcommand("report")]
    | Annotated[Sync, tyro.conf.subcommand("sync")]
    | Annotated[Explore, tyro.conf.subcommand("explore")]
    | Annotated[Top, tyro.conf.subcommand("top")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        OUT.print(f"raypol {__version__}")
        sys.exit(0)
    name = arguments[0] if arguments and arguments[0] in _COMMANDS else ""
    about = "Which proof-of-learning spoofs pass which verifier, for which T', k and strength, at what cost."
    command = parse(Command, "raypol", about, arguments, help_words=" ".join(filter(None, ("raypol", name))))
    sys.exit(guarded(command.run, debug=command.debug))


_COMMANDS: Final = (
    "demo",
    "prove",
    "spoof",
    "verify",
    "range",
    "relatives",
    "cluster",
    "join",
    "models",
    "plan",
    "import",
    "export",
    "report",
    "sync",
    "explore",
    "top",
)
