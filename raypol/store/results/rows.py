"""The row of a trial, one per trial and arm. docs/results.md lists its columns."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from raypol.core.distances import METRICS
from raypol.core.scoring import CONTROLS
from raypol.store.results.columns import ASKED, Group, View, column, row

FINISHED: Final = ("ok", "stopped", "refused")
"""Statuses of trials that a resumed sweep does not run again."""
HONEST: Final = "honest"
"""In the column `arm` of an honest row."""
NO_ATTACK: Final = "none"
"""In the column `attack` of an honest row."""


def _in_255ths(limit: float) -> str:
    return f"{limit * 255:.3g}/255"


_ROUNDING: Final = 1e-5
"""Normalised distance below which two models are the same but for rounding."""
optional = partial(column, default=None)
"""A column that is empty where it does not apply or was not reached."""
_BY_METRIC: Final[Mapping[str, tuple[Group, str, str]]] = {
    "delta": ("verifier", "Slack in {}; unless static, in units of d_ref.", ""),
    "error": ("errors", "Largest normalised reproduction error in {} over the verified intervals.", "d_ref"),
    "mean error": ("errors", "Mean normalised reproduction error in {} over the verified intervals.", "d_ref"),
    "jump": ("errors", "Largest normalised d(W_t-k, W_t) in {}: the error of no update at all.", "d_ref"),
    "removed share": (
        "errors",
        "(null - attack) / (null - jump) in {}, summed over intervals: see docs/protocol.md.",
        "",
    ),
    "error / proof's": ("success", "error_{} divided by the honest proof's.", ""),
}


def _of(title: str, metric: str, *shown: View, variant: str = "") -> Any:  # noqa: ANN401 - a field
    """The column of one metric among four."""
    group, meaning, unit = _BY_METRIC[title]
    return optional(group, f"{title} {metric}", meaning.format(metric), unit, shown=shown, variant=variant)


_JUDGED: Final = ("accepts", "rejects")
_SUCCEEDS: Final = "errors are below the proof's, and time and storage are less."


@row
class TrialRow:
    """One trial: full configuration, every measurement, the verdict. None = does not apply or was not reached."""

    trial_id: str = column(
        "identity", "trial", "Digest of what was asked: the same trial has the same name in every run.",
        shown=("tag", "listing", "trials"),
    )  # fmt: skip
    sweep_id: str = column(
        "identity", "sweep", "The sweep, demo or search it belongs to.", shown=("filter", "listing_end")
    )
    proof_id: str = column("identity", "proof", "Folder in RESULTS/proofs; empty if nothing was made.", shown=("tag",))
    arm: str = column(
        "identity", "arm", "Name in tables and figures; honest = the proof itself.",
        shown=("param", "filter", "listing", "trials"),
    )  # fmt: skip
    attack: str = column(
        "identity", "attack", "Module of the attack (null and infinitesimal: the controls); none = the honest proof.",
        shown=("param", "filter", "runs"),
    )  # fmt: skip

    device: str = column(
        "where", "device", "Device asked for: the spoofer's; in an honest row the prover's.",
        shown=("param", "filter", "listing_end", "trials", "swept", "runs", "point"), variant="{}",
    )  # fmt: skip
    device_name: str = column("where", "device name", "As the driver or the kernel reports it.", shown=("param",))
    node: str = column("where", "node", "host/node of the work; several if it moved.", default="")
    prover_device: str = column(
        "where", "prover", "Device asked for, of the honest proof that the row is compared with.",
        default="", shown=("swept",), variant="proof on {}",
    )  # fmt: skip
    prover_device_name: str = column("where", "prover's device", "Name of that device as reported.", default="")
    verifier_device: str = column(
        "where", "verifier", "Device asked for, of the verifier.",
        default="", shown=("swept", "point"), variant="judged on {}",
    )  # fmt: skip
    verifier_device_name: str = column("where", "verifier's device", "Name of that device as reported.", default="")
    verifier_node: str = column("where", "verifier's node", "host/node of the verifier.", default="")
    simulated: bool = column(
        "where", "hardware", "True if a CPU did the work of a GPU that was only declared: times are no GPU's.",
        default=False, shown=("tag", "filter"), words=("simulated", "as named"),
    )  # fmt: skip

    dataset: str = column(
        "task",
        "dataset",
        "Dataset that is declared; /D1, /D2: its halves.",
        shown=("param", "filter", "listing_end", "swept"),
    )
    dataset_sha256: str = column("task", "dataset's digest", "SHA-256 of the dataset's content.", default="")
    model: str = column("task", "model", "Model that is trained.", shown=("param", "filter", "listing_end", "swept"))
    steps: int = column(
        "task", "T'", "Updates claimed; T in an honest row.", "steps",
        shown=("param", "filter", "listing", "trials", "runs"),
    )  # fmt: skip
    interval: int = column(
        "task", "k", "Updates between recorded weights.", "steps",
        shown=("param", "filter", "listing", "trials", "runs"), variant="k {}",
    )  # fmt: skip
    seed: int = column(
        "task", "seed", "Seed of W_0, batches and noise; in an honest row of the training.",
        shown=("param", "filter", "listing_end", "trials"),
    )  # fmt: skip
    batch_size: int = column("task", "batch size", "Points per update.", shown=ASKED, variant="batch {}")
    precision: str = column(
        "task", "precision", "Arithmetic that the proof declares.", default="", shown=("param",), variant="{}"
    )

    objective: str | None = optional("attack", "objective", "What crafting lowers: gradient or loss.", variant="{}")
    crafting: str | None = optional("attack", "crafting", "How crafting searches for points.", variant="{}")
    alpha: float | None = optional("attack", "alpha", "Weight of the perturbation's norm in the objective.")
    linf_limit: float | None = optional(
        "attack", "linf limit", "Largest change of a pixel; empty = free.", "share of [0, 1]",
        variant="linf {}", absent="free", form=_in_255ths,
    )  # fmt: skip
    iterations: int | None = optional(
        "attack", "iterations", "Iterations of the search for each batch.", variant="{} iterations"
    )
    joint: float | None = optional("attack", "joint", "Share of the intervals before two trainings are joined.")
    bad_intervals: int | None = optional("attack", "bad intervals", "Intervals over which the way to W_T is spread.")
    start_noise: float | None = optional(
        "attack", "noise on W_0", "Noise on a W_0 that is W_T.", "root mean square of W_T"
    )
    pruned: float | None = optional("attack", "pruned", "Share of the entries of such a W_0 that are set to 0.")
    candidates: int | None = optional(
        "attack", "candidates", "What the attack chooses from: batches near the real one, or points; 0 = all points."
    )
    every: int | None = optional("attack", "every", "Intervals between two choices of points; 0 = one choice for all.")
    points: int | None = optional(
        "attack", "points kept", "Points that a choice keeps, or that are crafted; 0 = the attack's own number."
    )
    blend_cosine: float | None = optional("attack", "blend cosine", "Cosine of W_0 and a blended W_T, before repair.")
    repair: int | None = optional("attack", "repair", "Steps of training that a blended model is repaired by.", "steps")
    repair_lr: float | None = optional("attack", "repair rate", "Learning rate of these steps.")
    models: int | None = optional("attack", "models", "Models along the path that a point is crafted against at once.")
    unit: str | None = optional(
        "attack", "unit", "What is weighed to align a move: points, batches or auto.", variant="{}"
    )
    batches: int | None = optional("attack", "batches", "Random batches that are weighed in each interval.")
    train_share: float | None = optional(
        "attack", "train share", "Gradients that a curve of low loss is trained with, as a share of T'."
    )
    redraw: str | None = optional(
        "attack", "redraw", "What such a candidate draws anew: batch or denied.", variant="{} redrawn"
    )
    fraction: float | None = optional(
        "attack", "fraction", "Share of the points trained on that are not the declared ones."
    )

    trajectory: str | None = optional(
        "spoof", "trajectory", "Path from W_0 to W_T: linear, eased or noisy.", variant="{} path"
    )
    initial: str | None = optional(
        "spoof", "initial", "Constants of W_0: strict = where the law says, published = W_T's.", variant="W_0 {}"
    )
    noise: float | None = optional(
        "spoof", "noise", "sigma(0) on a noisy path, 0 on others.", "root mean square of W_T"
    )
    noise_decay: float | None = optional("spoof", "decay", "Exponent with which that noise falls.")
    start: str | None = optional(
        "spoof", "W_0", "How W_0 is chosen: rank_matched, ks_ball, mixed, honest or bound.", variant="W_0 {}",
    )  # fmt: skip
    declares: str | None = optional(
        "spoof", "declares", "Declared optimizer and schedule: honest_schedule, published, no_momentum, ...",
        shown=("listing", "swept"), variant="declares {}",
    )  # fmt: skip
    augmentation: str | None = optional(
        "spoof", "declared augmentation", "none, or honest = the honest proof's.", variant="augmentation {}"
    )
    carry: str | None = optional("spoof", "carry", "Declared optimizer state: exact or restart; older rows: none.")
    buffers: str | None = optional("spoof", "buffers", "Statistics of norm layers: linear or exact.")
    data_order: str | None = optional("spoof", "data order", "own = A's choice, declared = of the declared seed.")
    grants: str | None = optional(
        "spoof", "granted", "What A was granted, separated by commas; empty in older rows.", shown=("filter",)
    )

    replay_augmentation: str = column(
        "verifier", "augmentation", "Augmentation of the replay: recorded = the prover's crops and flips, fresh = new ones.",
        default="", shown=("param", "swept"), variant="augmentation {}",
    )  # fmt: skip
    replay_precision: str = column(
        "verifier",
        "replay in",
        "Arithmetic of the replay.",
        default="",
        shown=("param", "swept"),
        variant="replay in {}",
    )
    replay_device: str = column("verifier", "replay on", "Kind of device that replays.", default="", shown=("param",))
    replay_threads: int | None = optional(
        "verifier", "replay threads", "CPU threads of the replay.",
        shown=("param", "swept"), variant="replay threads {}",
    )  # fmt: skip
    threshold_kind: str = column(
        "verifier", "delta", "Slack: static, relative (times d_ref) or dynamic (relative, shrinking over training).",
        default="", shown=("param", "filter", "swept"), variant="delta {}",
    )  # fmt: skip
    threshold_l1: float | None = _of("delta", "l1", "param", "swept", variant="delta l1 {}")
    threshold_l2: float | None = _of("delta", "l2", "param", "swept", variant="delta l2 {}")
    threshold_linf: float | None = _of("delta", "linf", "param", "swept", variant="delta linf {}")
    threshold_cos: float | None = _of("delta", "cos", "param", "swept", variant="delta cos {}")
    threshold_late: float | None = optional(
        "verifier", "delta late", "Share of a dynamic slack that is left at the end of training.",
        shown=("param", "swept"), variant="delta late {}",
    )  # fmt: skip

    status: str = column(
        "verdict", "status",
        "ok, error, refused: the attack uses what was not granted, or stopped: the first intervals already ruled success out.",
        shown=("tag", "filter", "listing", "trials", "runs"),
    )  # fmt: skip
    message: str = column("verdict", "message", "Remarks; of an error its traceback.", default="")
    num_intervals: int = column("verdict", "intervals", "Intervals between recorded weights.", default=0)
    intervals_verified: int = column("verdict", "verified", "Intervals that were replayed.", default=0)
    estimated: bool = column(
        "verdict", "replayed",
        "True if a sample of the intervals was crafted and replayed: times and sizes are extrapolated.",
        default=False, shown=("tag", "filter"), words=("some: estimated", "all intervals"),
    )  # fmt: skip
    estimate_confidence: float | None = optional("verdict", "confidence", "Probability that `estimate_beyond` holds.")
    estimate_beyond: int | None = optional(
        "verdict", "beyond", "At most this many intervals of an estimate err more than the largest error seen, in any metric."
    )  # fmt: skip
    accepted_published: bool | None = optional(
        "verdict",
        "published",
        "Verdict of policy published.",
        shown=("filter", "listing", "trials"),
        words=_JUDGED,
        absent="no verdict",
    )
    accepted_strict: bool | None = optional(
        "verdict",
        "strict",
        "Verdict of policy strict.",
        shown=("filter", "listing", "trials"),
        words=_JUDGED,
        absent="no verdict",
    )
    rejected_by: str | None = optional(
        "verdict", "rejected by", "Checks of policy strict that fail, separated by commas.", shown=("tag", "runs")
    )
    rejected_by_published: str | None = optional(
        "verdict", "rejected by, published", "Checks of policy published that fail."
    )

    success: bool | None = optional(
        "success", "success", f"True if policy published accepts, all four {_SUCCEEDS}",
        shown=("tag", "headline", "filter", "listing", "trials"), absent="not judged",
    )  # fmt: skip
    success_strict: bool | None = optional(
        "success",
        "success, strict",
        f"True if policy strict accepts, all four {_SUCCEEDS}",
        shown=("tag", "trials"),
        absent="not judged",
    )
    bound_by: str | None = optional(
        "success", "bound by", "Conditions that fail; of a success the one that comes closest.",
        shown=("tag", "listing", "trials"),
    )  # fmt: skip
    ratio_time: float | None = optional(
        "success", "time / proof's", "device_s divided by the honest proof's.",
        shown=("headline", "listing", "trials"),
    )  # fmt: skip
    ratio_working: float | None = optional(
        "success", "working time / proof's", "The same without waiting for writes; empty on another device than the prover's.",
    )  # fmt: skip
    ratio_size: float | None = optional(
        "success", "size / proof's", "size_bytes divided by the honest proof's.",
        shown=("headline", "listing", "trials"),
    )  # fmt: skip
    ratio_error_l1: float | None = _of("error / proof's", "l1")
    ratio_error_l2: float | None = _of("error / proof's", "l2", "headline")
    ratio_error_linf: float | None = _of("error / proof's", "linf")
    ratio_error_cos: float | None = _of("error / proof's", "cos")
    proof_reference: str | None = optional(
        "success", "compared with", "proof_id of the honest proof.", shown=("point",)
    )

    error_l1: float | None = _of("error", "l1", "listing", "trials")
    error_l2: float | None = _of("error", "l2", "headline", "listing", "trials")
    error_linf: float | None = _of("error", "linf", "headline", "listing", "trials")
    error_cos: float | None = _of("error", "cos", "listing", "trials")
    mean_error_l1: float | None = _of("mean error", "l1")
    mean_error_l2: float | None = _of("mean error", "l2")
    mean_error_linf: float | None = _of("mean error", "linf")
    mean_error_cos: float | None = _of("mean error", "cos")
    jump_l1: float | None = _of("jump", "l1")
    jump_l2: float | None = _of("jump", "l2")
    jump_linf: float | None = _of("jump", "linf")
    jump_cos: float | None = _of("jump", "cos")
    removed_share_l1: float | None = _of("removed share", "l1")
    removed_share_l2: float | None = _of("removed share", "l2")
    removed_share_linf: float | None = _of("removed share", "linf")
    removed_share_cos: float | None = _of("removed share", "cos")
    buffer_error_l2: float | None = optional(
        "errors", "buffer error l2", "Largest error of the norm layers' statistics; reported, never judged.", "weights",

    )  # fmt: skip
    claimed_l2: float | None = optional(
        "errors", "claimed model l2", "l2 distance of the last recorded weights from the honest proof's; 0 = W_T itself.", "d_ref"
    )  # fmt: skip
    accuracy_final: float | None = optional("errors", "accuracy", "Test accuracy of W_T.", "share")

    device_s: float | None = optional(
        "cost", "device s", "Generation time summed over actors; start-up, loading and verification apart.", "s",
        shown=("listing", "trials", "runs"),
    )  # fmt: skip
    wall_s: float | None = optional("cost", "wall s", "Generation time by the clock.", "s")
    verify_s: float | None = optional("cost", "verification s", "Time of the verification by the clock.", "s")
    gradient_evals: int | None = optional("cost", "gradients", "Gradient evaluations of batches.")
    forward_passes: int | None = optional("cost", "forward passes", "Batches that went forward and no further.")
    hashes: int | None = optional("cost", "hashes", "Digests computed in search of one that suits A.")
    writing_s: float | None = optional(
        "cost", "writing s", "Part of device_s in which the maker waited for the proof to be written.", "s"
    )
    step_equivalents: float | None = optional(
        "cost", "step equivalents", "Device time per claimed step divided by that of an honest step."
    )

    size_bytes: int | None = optional("size", "size", "All files together.", "bytes", shown=("listing",))
    size_weights_bytes: int | None = optional("size", "size of weights", "Recorded weights.", "bytes")
    size_optimizer_bytes: int | None = optional("size", "size of optimizer state", "Recorded optimizer state.", "bytes")
    size_indices_bytes: int | None = optional("size", "size of indices", "Indices and hashes of batches.", "bytes")
    size_points_bytes: int | None = optional("size", "size of points", "Crafted points.", "bytes")
    size_overhead_bytes: int | None = optional("size", "size of the rest", "The rest of the files.", "bytes")

    num_points: int | None = optional("crafting", "points", "Points in the proof that no dataset has.")
    perturbation_linf: float | None = optional("crafting", "|R| linf", "Largest change of a pixel.", "share of [0, 1]")
    perturbation_l2: float | None = optional("crafting", "|R| l2", "Largest l2 norm of a search's perturbations.")
    grad_norm2_before: float | None = optional(
        "crafting", "|grad|^2 before", "Squared distance of gradient and goal before crafting, mean."
    )
    grad_norm2_after: float | None = optional("crafting", "|grad|^2 after", "The same after crafting.")
    loss_before: float | None = optional("crafting", "loss before", "Training loss before crafting, mean.")
    loss_after: float | None = optional("crafting", "loss after", "The same after crafting.")
    retries: float | None = optional("crafting", "retries", "Draws of fresh batches, mean over searches.")
    acceptance_rate: float | None = optional(
        "crafting", "accepted", "Searches that ended within the attack's limits.", "share"
    )

    started_at: str = column(
        "provenance", "started", "When work on the trial began, UTC.", "ISO 8601", default="", shown=("listing_end",)
    )
    versions: str = column("provenance", "versions", "Versions of Python, raypol and libraries, as JSON.", default="")
    commit: str = column(
        "provenance", "commit", "Git commit of raypol; -dirty if its files were changed.", default="", shown=("tag",)
    )

    @property
    def is_honest(self) -> bool:
        """True for the row of an honest proof, False for a spoof's."""
        return self.attack == NO_ATTACK

    @property
    def claims_other_model(self) -> bool:
        """True for a spoof whose last weights are not the stolen ones."""
        return self.claimed_l2 is not None and self.claimed_l2 > _ROUNDING

    @property
    def is_control(self) -> bool:
        """True for a spoof that crafts nothing, whatever its arm is called."""
        return self.attack in CONTROLS

    @property
    def is_ok(self) -> bool:
        """True if the trial ran to its end."""
        return self.status == "ok"

    @property
    def replay(self) -> str:
        """Conditions of the replay in words, to be shown; empty if they were not recorded."""
        known = {name: getattr(self, f"replay_{name}") for name in ("augmentation", "precision", "device", "threads")}
        return " ".join(f"{name}={value}" for name, value in known.items() if value not in (None, ""))

    @property
    def thresholds(self) -> str:
        """The slack in words, to be shown; empty if it was not recorded."""
        known = {name: getattr(self, f"threshold_{name}") for name in (*METRICS, "late")}
        return " ".join(
            [self.threshold_kind, *(f"{m}={value:g}" for m, value in known.items() if value is not None)]
        ).strip()
