"""The command line, `raypol COMMAND`.

Exit codes: 0 done (verify: accepted), 1 rejected by verify, 2 bad input, 3 failed for another reason (the traceback says which),
130 interrupted. Results go to stdout, progress and errors to stderr.
"""

import importlib
import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final

import tyro

from raypol import __version__
from raypol.cli.console import OUT
from raypol.cli.exit_codes import guarded, parse

COMMANDS: Final = {
    "demo": "demo:DemoCommand",
    "commit": "prove:CommitCommand",
    "prove": "prove:ProveCommand",
    "spoof": "spoof:SpoofCommand",
    "verify": "verify:VerifyCommand",
    "calibrate": "policies:CalibrateCommand",
    "policies": "policies:PoliciesCommand",
    "vc-keys": "verifiable.keys:VcKeysCommand",
    "range": "range:RangeCommand",
    "arena": "arena.run:ArenaCommand",
    "arena-merge": "arena.standing:ArenaMergeCommand",
    "arena-page": "arena.standing:ArenaPageCommand",
    "arena-check": "arena.standing:ArenaCheckCommand",
    "dispute": "disputes.local:DisputeCommand",
    "dispute-party": "disputes.apart:DisputePartyCommand",
    "dispute-referee": "disputes.apart:DisputeRefereeCommand",
    "dispute-check": "disputes.apart:DisputeCheckCommand",
    "relatives": "relatives:RelativesCommand",
    "cluster": "cluster:ClusterCommand",
    "join": "cluster:JoinCommand",
    "import": "import_export:ImportCommand",
    "export": "import_export:ExportCommand",
    "models": "models:ModelsCommand",
    "plan": "costs.plan:PlanCommand",
    "bench": "costs.bench:BenchCommand",
    "report": "report:ReportCommand",
    "sync": "sync:SyncCommand",
    "explore": "explore:ExploreCommand",
    "top": "top:TopCommand",
}
"""Module in raypol.cli.commands and class of each command, in the order of the help. Only the command asked for is imported."""
ABOUT: Final = "Which proof-of-learning spoofs pass which verifier, for which T', k and strength, at what cost."


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        OUT.print(f"raypol {__version__}")
        sys.exit(0)
    if (joined := "-".join(arguments[:2])) in COMMANDS:  # `raypol arena merge` is what one would type
        arguments = [joined, *arguments[2:]]
    if arguments and arguments[0] in COMMANDS:
        name, *rest = arguments
        command = parse(find_command(name), f"raypol {name}", None, rest)
    else:
        every_command = (Annotated[find_command(name), tyro.conf.subcommand(name)] for name in COMMANDS)
        command = parse(reduce(or_, every_command), "raypol", ABOUT, arguments)
    sys.exit(guarded(command.run, debug=command.debug))


def find_command(name: str) -> Any:  # noqa: ANN401 - a dataclass that runs
    """Import the class of a command."""
    module, _, kind = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(f"raypol.cli.commands.{module}"), kind)
