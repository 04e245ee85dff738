"""The cells of the arena as rows: one attack against one policy on one training, with all that a reader has to know of it.

RESULTS/cells/<sweep_id>.parquet   the cells of a sweep, made anew from its rows whenever it ends
"""

from collections.abc import Sequence
from typing import Final, Literal

from raypol.store.location import Location
from raypol.store.results.columns import column, row
from raypol.store.results.files import read_rows, write_rows
from raypol.store.results.rows import optional
from raypol.store.results_folder import ResultsFolder

CELLS_VERSION: Final = 2
"""Of the rules by which trials become cells. Rows of another version keep theirs and are not compared with these."""
Mode = Literal["declared", "adaptive"]
CLAIMS: Final = ("W_T", "another model", "other data", "nothing")
"""What an arm claims: the stolen model itself; a model that A trained or derived; that other data were trained on; or nothing."""


@row
class CellRow:
    """One attack against one policy. None = does not apply, or no trial came to it."""

    version: int = column("identity", "version", "Version of the rules by which trials become cells.")
    sweep_id: str = column("identity", "sweep", "As in the trials' rows.")
    arm: str = column("identity", "arm", "Name in tables; honest = the honest proofs.")
    attack: str = column("identity", "attack", "As in the trials' rows.")
    source: str = column("identity", "published by", "Paper of the attack; empty = measured first here.", default="")
    claims: str = column("identity", "claims", "W_T, another model, other data or nothing.")
    is_control: bool = column(
        "identity", "control", "True for arms that no attack is: honest proofs, null, infinitesimal, untrained."
    )
    policy: str = column("verifier", "policy", "Name of the policy.")
    policy_sha256: str = column("verifier", "policy's SHA-256", "Of its checks, parameters, slack and family, hex.")
    checks: str = column("verifier", "checks", "Checks of the policy, separated by commas.", default="")
    prover_needs: str = column(
        "verifier", "asks of the prover", "What an honest prover has to do for it, separated by semicolons.", default=""
    )
    mode: str = column(
        "identity",
        "mode",
        "declared: the arm as it is, over all seeds; adaptive: what its search against this policy found.",
    )

    dataset: str = column("task", "dataset", "Dataset of the honest training.")
    model: str = column("task", "model", "Model.")
    train_steps: int = column("task", "T", "Steps of the honest training.", "steps")
    interval: int = column("task", "k", "Updates between recorded weights.", "steps")
    batch_size: int = column("task", "batch size", "Points per update.")

    grants: str = column("spoof", "granted", "What A was granted, separated by commas; empty for honest proofs.")
    uses: str = column("spoof", "uses", "What of it that trial uses, separated by commas.", default="")
    trial_id: str = column(
        "identity",
        "trial",
        "The trial that the numbers below are of: of a search the cheapest accepted at its seed, else at another one, else the "
        "nearest; as declared, over the seeds, the accepted one of median cost, else that of median cost.",
    )
    setting: str = column(
        "spoof", "setting", "What the search chose for that trial, as JSON: axis -> value.", default="{}"
    )
    steps: int = column("task", "T'", "Updates that it claims.", "steps")
    declares: str | None = optional("spoof", "declares", "Declared optimizer and schedule.")
    start: str | None = optional("spoof", "W_0", "How its W_0 was chosen.")

    tried: int = column(
        "verdict",
        "tried",
        "Trials judged: of a search at its seed, as declared over all seeds. Where a search passes at another seed alone, also "
        "what was judged of that point there.",
    )
    failed: int = column("verdict", "failed", "Trials without a verdict besides.")
    accepted: int = column(
        "verdict", "accepted", "Of the tried, how many the policy accepts (of some nonce, where it draws)."
    )
    rate: float | None = optional(
        "verdict", "rate", "Of that trial: share of nonces that accept; as declared: share of seeds.", "share"
    )
    rate_low: float | None = optional(
        "verdict", "rate from", "Lower end of the 95 % interval (Clopper and Pearson).", "share"
    )
    rate_high: float | None = optional("verdict", "rate to", "Upper end of it.", "share")
    rate_of: int = column("verdict", "rate of", "Verdicts that the rate is of: seeds times nonces.", default=1)
    rejected_by: str = column(
        "verdict", "rejected by", "Checks that reject that trial; empty if it is accepted.", default=""
    )
    seeds: int = column("verdict", "seeds", "Seeds at which that point was judged.", default=1)
    seeds_accepted: int = column("verdict", "seeds accepted", "Seeds at which it was accepted.", default=0)

    cost: float | None = optional(
        "cost", "cost", "Generation time of that trial without waiting for writes, over the honest proof's."
    )
    cost_low: float | None = optional("cost", "cost from", "Least over the seeds.")
    cost_high: float | None = optional("cost", "cost to", "Largest over the seeds.")
    gradients: float | None = optional("cost", "gradients", "Its gradient evaluations over T.")
    size: float | None = optional("cost", "size", "Its bytes over the honest proof's.")
    error: float | None = optional("errors", "error / proof's", "Largest of the four errors over the honest proof's.")
    error_l2: float | None = optional("errors", "error l2", "Largest normalised error in l2.", "d_ref")
    success: bool | None = optional(
        "success", "success", "Accepted, all four errors below the proof's, and less time and storage."
    )

    budget: int = column(
        "verdict", "budget", "Forgeries that the arm's search may try; 0 = nothing is searched.", default=0
    )
    searched: str = column("spoof", "searched", "What is searched, as JSON: axis -> its values or range.", default="{}")
    ends: str = column(
        "spoof", "at the end", "Axes on which that trial lies at the end of the searched range: a better one may lie beyond.",
        default="",
    )  # fmt: skip
    exhausted: bool = column(
        "spoof", "exhausted", "True if the search tried every point that its axes allow.", default=False
    )

    replayed: float | None = optional("cost", "replayed", "Share of the intervals that the policy looks at.", "share")
    verification: float | None = optional(
        "cost",
        "verification",
        "Time to examine that trial for all policies together, over the honest proof's generation time; of several seeds the "
        "median.",
    )
    estimated: bool = column(
        "verdict", "estimated", "True if a sample of the intervals was crafted and replayed.", default=False
    )
    simulated: bool = column("where", "simulated", "True if a device was only declared.", default=False)
    device_name: str = column("where", "device", "Of the spoofer.", default="")
    command: str = column("provenance", "command", "Makes the rows again.", default="")
    versions: str = column("provenance", "versions", "Of Python, raypol and libraries, as JSON.", default="")
    commit: str = column("provenance", "commit", "Git commit of raypol.", default="")

    @property
    def key(self) -> tuple[str | int, ...]:
        """What makes two cells the same question: two answers to it are the same, or contradict each other."""
        return (
            self.dataset,
            self.model,
            self.train_steps,
            self.interval,
            self.batch_size,
            self.sweep_id,
            self.arm,
            self.policy,
            self.mode,
        )

    @property
    def is_broken(self) -> bool:
        """True if the policy accepts a forgery of this arm."""
        return self.accepted > 0


def write_cells(results: Location, sweep_id: str, cells: Sequence[CellRow]) -> Location:
    """Record the cells of a sweep in place of an earlier record of them. Returns the file."""
    folder = ResultsFolder(results).cells
    write_rows(folder, sweep_id, CellRow, cells)
    return folder / f"{sweep_id}.parquet"


def read_cells(results: Location) -> list[CellRow]:
    """Read the cells of a results folder."""
    return read_rows(ResultsFolder(results).cells, CellRow, "")
