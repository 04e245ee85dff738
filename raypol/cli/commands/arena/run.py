"""`raypol arena`: every attack against every verifier, each attack adapted to each verifier."""

import sys
from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from raypol.cli.options import AllowedModel
from raypol.cli.sweep import run_command
from raypol.cli.sweep_options import AdaptiveSweepCommand, OtherDataset, Size
from raypol.core.datasets.source import DataSource
from raypol.core.errors import reject_choice
from raypol.core.scoring import CONTROLS
from raypol.runs.arena.own_proof import own_arena
from raypol.runs.arena.tasks import TASKS, TaskName
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.trials.honest_proof import proof_at
from raypol.runs.trials.verify import allow_names
from raypol.store.quoting import command_line


@dataclass(frozen=True, kw_only=True)
class ArenaCommand(AdaptiveSweepCommand):
    """Let every attack meet every verifier, each attack adapted to each verifier. Prints who breaks what at which cost, and
    writes the page. With PROOF_DIR all attacks are on that proof: your own model, your own data. Run the same command again to
    go on.
    `raypol arena-merge` joins the results of several runs, `arena-page` writes the page of what is there, `arena-check` runs a
    part of it again.
    """

    proof_dir: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(
            metavar="PROOF_DIR", help="Folder of your own honest proof; none = the task's trainings are made."
        ),
    ] = ""
    task: TaskName = "digits"
    """The training: digits (resnet8), simple_conv (two convolutions, fashion_mnist, T = 20,000), resnet20 (fashion_mnist)."""
    size: Size = "smoke"
    arms: tuple[str, ...] = ()
    """Names of the attacks to run, as in the table, beside the controls; none = all."""
    dataset: OtherDataset = ""
    model: AllowedModel = None

    def run(self) -> int:
        """Run it."""
        return run_command(self.sweep(), self, typed=command_line("raypol", *sys.argv[1:]))

    def sweep(self) -> Sweep:
        """The arena that is asked for."""
        if not self.proof_dir:
            return TASKS[self.task]
        recipe = proof_at(self.proof_dir).manifest.recipe
        allow_names(recipe, dataset=self.dataset or None, model=self.model)
        source = DataSource(name=self.dataset or recipe.dataset, folder=self.data_dir)
        return own_arena(self.proof_dir, source.load(), self.data_dir)

    def design(self, sweep: Sweep) -> Design:
        """The sweep's at this size, with the attacks that are asked for."""
        command = replace(self, dataset="") if self.proof_dir else self
        design = AdaptiveSweepCommand.design(command, sweep)
        for arm in self.arms:
            if arm not in design.arms:
                reject_choice("arm", arm, list(design.arms))
        # Every sweep has the controls, and these fit it.
        kept = {*self.arms, *CONTROLS} if self.arms else set(design.arms)
        return replace(design, arms={name: arm for name, arm in design.arms.items() if name in kept})
