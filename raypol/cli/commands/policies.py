"""`raypol policies`: what policies and checks there are."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from raypol.cli.console import print_tables, say
from raypol.cli.options import Debug
from raypol.core.verification.policies import POLICIES
from raypol.report.verdict_tables import checks_table, policy_table
from raypol.store.policies import open_policy


@dataclass(frozen=True, kw_only=True)
class PoliciesCommand:
    """List the policies and checks, or show one policy with every parameter: a name, a file, POLICY+CHECK."""

    policy: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="POLICY")] = ""
    """The policy to show; none = list all."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        if not self.policy:
            print_tables(checks_table(POLICIES.values()))
            return 0
        policy = open_policy(self.policy)
        print_tables(policy_table(policy))
        if policy.family:
            say(
                f"calibrated on {policy.family.recipe['model']} on {policy.family.recipe['dataset']}, T = {policy.family.steps}"
            )
        say(f"policy {policy.name}, SHA-256 {policy.sha256}")
        return 0
