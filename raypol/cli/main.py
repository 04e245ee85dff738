"""The command line, `raypol COMMAND`.

Exit codes: 0 done (verify: accepted), 1 rejected by verify, 2 bad input, 3 failed for another reason (the traceback says which),
130 interrupted. Results go to stdout, progress and errors to stderr.
"""

import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final

import tyro

from raypol import __version__
from raypol.cli.commands.cluster import ClusterCommand
from raypol.cli.commands.demo import DemoCommand
from raypol.cli.commands.explore import ExploreCommand
from raypol.cli.commands.import_export import ExportCommand, ImportCommand
from raypol.cli.commands.join import JoinCommand
from raypol.cli.commands.models import ModelsCommand
from raypol.cli.commands.plan import PlanCommand
from raypol.cli.commands.prove import ProveCommand
from raypol.cli.commands.range import RangeCommand
from raypol.cli.commands.relatives import RelativesCommand
from raypol.cli.commands.report import ReportCommand
from raypol.cli.commands.spoof import SpoofCommand
from raypol.cli.commands.sync import SyncCommand
from raypol.cli.commands.top import TopCommand
from raypol.cli.commands.verify import VerifyCommand
from raypol.cli.console import OUT
from raypol.cli.exit_codes import guarded, parse

COMMANDS: Final[dict[str, Any]] = {
    "demo": DemoCommand,
    "prove": ProveCommand,
    "spoof": SpoofCommand,
    "verify": VerifyCommand,
    "range": RangeCommand,
    "relatives": RelativesCommand,
    "cluster": ClusterCommand,
    "join": JoinCommand,
    "import": ImportCommand,
    "export": ExportCommand,
    "models": ModelsCommand,
    "plan": PlanCommand,
    "report": ReportCommand,
    "sync": SyncCommand,
    "explore": ExploreCommand,
    "top": TopCommand,
}
"""In the order of the help."""
ABOUT: Final = "Which proof-of-learning spoofs pass which verifier, for which T', k and strength, at what cost."


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        OUT.print(f"raypol {__version__}")
        sys.exit(0)
    any_command = reduce(or_, (Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items()))
    help_of = f"raypol {arguments[0]}" if arguments and arguments[0] in COMMANDS else "raypol"
    command = parse(any_command, "raypol", ABOUT, arguments, help_words=help_of)
    sys.exit(guarded(command.run, debug=command.debug))
