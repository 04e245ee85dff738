"""The rows of the results: one per trial and arm, one per verified interval and metric. docs/results.md lists their columns."""

from typing import Any, Final

from raypol.core.distances import METRICS
from raypol.core.scoring import CONTROLS
from raypol.store.results.columns import ASKED, Group, column, row

NO_ATTACK: Final = "none"
"""In the column `attack` of an honest row."""


def _in_255ths(limit: float) -> str:
    return f"{limit * 255:.3g}/255"


def _of(metric: str, group: Group, title: str, meaning: str, unit: str = "d_ref", **shown: Any) -> Any:  # noqa: ANN401
    """A column of a number in one metric, which the meaning names by {}."""
    return column(group, f"{title} {metric}", meaning.format(metric), unit, default=None, **shown)


def _delta(metric: str) -> Any:  # noqa: ANN401 - a field
    """A column of the slack in one metric."""
    return _of(metric, "verifier", "delta", "Slack delta in {}; unless static, in units of d_ref.", "", shown=("param", "swept"), variant=f"delta {metric} {{}}")


_JUDGED: Final = ("accepts", "rejects")
_SUCCEEDS: Final = "errors are below the proof's, and time and storage are less."
_ERROR: Final = "Largest normalised reproduction error in {} over the verified intervals."
_SHARE: Final = "(null - attack) / (null - jump) in {}: the share that crafting removed of what it could remove"
_RATIO: Final = "error_{} divided by the honest proof's."


@row
class TrialRow:
    """One trial: full configuration, every measurement, the verdict. None = does not apply or was not reached."""

    trial_id: str = column(
        "identity", "trial", "Digest of what was asked: the same trial has the same name in every run.",
        shown=("tag", "listing", "trials"),
    )  # fmt: skip
    sweep_id: str = column("identity", "sweep", "The sweep, demo or search it belongs to.", shown=("filter", "listing_end"))
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
        "task", "dataset", "Dataset that the proof or spoof declares; /D1 and /D2 are its halves.", shown=("param", "filter", "listing_end", "swept")
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

    objective: str | None = column("attack", "objective", "What crafting lowers: gradient or loss.", default=None, variant="{}")
    crafting: str | None = column("attack", "crafting", "How crafting searches for points.", default=None, variant="{}")
    alpha: float | None = column("attack", "alpha", "Weight of the perturbation's norm in the objective.", default=None)
    linf_limit: float | None = column(
        "attack", "linf limit", "Largest change of a pixel; empty = free.", "share of [0, 1]",
        default=None, variant="linf {}", absent="free", form=_in_255ths,
    )  # fmt: skip
    iterations: int | None = column(
        "attack", "iterations", "Iterations of the search for each batch.", default=None, variant="{} iterations"
    )

    trajectory: str | None = column(
        "spoof", "trajectory", "Path from W_0 to W_T: linear, eased or noisy.", default=None, variant="{} path"
    )
    initial: str | None = column(
        "spoof", "initial", "Constants of W_0: strict = where the law says, published = W_T's.", default=None, variant="W_0 {}"
    )
    noise: float | None = column(
        "spoof", "noise", "sigma(0) on a noisy path, 0 on others.", "root mean square of W_T", default=None
    )
    noise_decay: float | None = column("spoof", "decay", "Exponent with which that noise falls.", default=None)
    hyperparameters: str | None = column(
        "spoof", "hyperparameters", "Declared optimizer and schedule: published or honest_schedule.",
        default=None, variant="lr {}",
    )  # fmt: skip
    carry: str | None = column("spoof", "carry", "Declared optimizer state: exact, restart or none.", default=None)

    replay_augmentation: str = column(
        "verifier", "augmentation", "Augmentation of the replay: recorded = the prover's crops and flips, fresh = new ones.",
        default="", shown=("param", "swept"), variant="augmentation {}",
    )  # fmt: skip
    replay_precision: str = column(
        "verifier", "replay in", "Arithmetic of the replay.", default="", shown=("param", "swept"), variant="replay in {}"
    )
    replay_device: str = column("verifier", "replay on", "Kind of device that replays.", default="", shown=("param",))
    replay_threads: int | None = column(
        "verifier", "replay threads", "CPU threads of the replay.",
        default=None, shown=("param", "swept"), variant="replay threads {}",
    )  # fmt: skip
    threshold_kind: str = column(
        "verifier", "delta", "Slack: static, relative (times d_ref) or dynamic (relative, shrinking over training).",
        default="", shown=("param", "filter", "swept"), variant="delta {}",
    )  # fmt: skip
    threshold_l1: float | None = _delta("l1")
    threshold_l2: float | None = _delta("l2")
    threshold_linf: float | None = _delta("linf")
    threshold_cos: float | None = _delta("cos")
    threshold_late: float | None = column(
        "verifier", "delta late", "Share of a dynamic slack that is left at the end of training.",
        default=None, shown=("param", "swept"), variant="delta late {}",
    )  # fmt: skip

    status: str = column(
        "verdict", "status", "ok, error, or stopped: the first intervals already ruled success out.",
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
    estimate_confidence: float | None = column(
        "verdict", "confidence", "Probability with which `estimate_beyond` holds.", default=None
    )
    estimate_beyond: int | None = column(
        "verdict", "beyond", "At most this many intervals of an estimate err more than the largest error seen, in any metric.",
        default=None,
    )  # fmt: skip
    accepted_published: bool | None = column(
        "verdict", "published", "Verdict of policy published.", default=None, shown=("filter", "listing", "trials"), words=_JUDGED, absent="no verdict"
    )
    accepted_strict: bool | None = column(
        "verdict", "strict", "Verdict of policy strict.", default=None, shown=("filter", "listing", "trials"), words=_JUDGED, absent="no verdict"
    )
    rejected_by: str | None = column(
        "verdict", "rejected by", "Checks of policy strict that fail, separated by commas.", default=None, shown=("tag", "runs")
    )
    rejected_by_published: str | None = column(
        "verdict", "rejected by, published", "Checks of policy published that fail.", default=None
    )

    success: bool | None = column(
        "success", "success", f"True if policy published accepts, all four {_SUCCEEDS}",
        default=None, shown=("tag", "headline", "filter", "listing", "trials"), absent="not judged",
    )  # fmt: skip
    success_strict: bool | None = column(
        "success", "success, strict", f"True if policy strict accepts, all four {_SUCCEEDS}", default=None, shown=("tag", "trials"), absent="not judged"
    )
    bound_by: str | None = column(
        "success", "bound by", "Conditions that fail; of a success the one that comes closest.",
        default=None, shown=("tag", "listing", "trials"),
    )  # fmt: skip
    ratio_time: float | None = column(
        "success", "time / proof's", "device_s divided by the honest proof's.",
        default=None, shown=("headline", "listing", "trials"),
    )  # fmt: skip
    ratio_size: float | None = column(
        "success", "size / proof's", "size_bytes divided by the honest proof's.",
        default=None, shown=("headline", "listing", "trials"),
    )  # fmt: skip
    ratio_error_l1: float | None = _of("l1", "success", "error / proof's", _RATIO, "")
    ratio_error_l2: float | None = _of("l2", "success", "error / proof's", _RATIO, "", shown=("headline",))
    ratio_error_linf: float | None = _of("linf", "success", "error / proof's", _RATIO, "")
    ratio_error_cos: float | None = _of("cos", "success", "error / proof's", _RATIO, "")
    proof_reference: str | None = column(
        "success", "compared with", "proof_id of the honest proof.", default=None, shown=("point",)
    )

    error_l1: float | None = _of("l1", "errors", "error", _ERROR, shown=("listing", "trials"))
    error_l2: float | None = _of("l2", "errors", "error", _ERROR, shown=("headline", "listing", "trials"))
    error_linf: float | None = _of("linf", "errors", "error", _ERROR, shown=("headline", "listing", "trials"))
    error_cos: float | None = _of("cos", "errors", "error", _ERROR, shown=("listing", "trials"))
    mean_error_l1: float | None = _of("l1", "errors", "mean error", "Mean normalised reproduction error in {} over the verified intervals.")
    mean_error_l2: float | None = _of("l2", "errors", "mean error", "Mean normalised reproduction error in {} over the verified intervals.")
    mean_error_linf: float | None = _of("linf", "errors", "mean error", "Mean normalised reproduction error in {} over the verified intervals.")
    mean_error_cos: float | None = _of("cos", "errors", "mean error", "Mean normalised reproduction error in {} over the verified intervals.")
    jump_l1: float | None = _of("l1", "errors", "jump", "Largest normalised d(W_t-k, W_t) in {}: the error of no update at all.")
    jump_l2: float | None = _of("l2", "errors", "jump", "Largest normalised d(W_t-k, W_t) in {}: the error of no update at all.")
    jump_linf: float | None = _of("linf", "errors", "jump", "Largest normalised d(W_t-k, W_t) in {}: the error of no update at all.")
    jump_cos: float | None = _of("cos", "errors", "jump", "Largest normalised d(W_t-k, W_t) in {}: the error of no update at all.")
    removed_share_l1: float | None = _of("l1", "errors", "removed share", f"{_SHARE}, summed over intervals.", "")
    removed_share_l2: float | None = _of("l2", "errors", "removed share", f"{_SHARE}, summed over intervals.", "")
    removed_share_linf: float | None = _of("linf", "errors", "removed share", f"{_SHARE}, summed over intervals.", "")
    removed_share_cos: float | None = _of("cos", "errors", "removed share", f"{_SHARE}, summed over intervals.", "")
    buffer_error_l2: float | None = column(
        "errors", "buffer error l2", "Largest error of the norm layers' statistics; reported, never judged.", "weights",
        default=None,
    )  # fmt: skip
    accuracy_final: float | None = column("errors", "accuracy", "Test accuracy of W_T.", "share", default=None)

    device_s: float | None = column(
        "cost", "device s", "Generation time summed over actors; start-up, loading and verification apart.", "s",
        default=None, shown=("listing", "trials", "runs"),
    )  # fmt: skip
    wall_s: float | None = column("cost", "wall s", "Generation time by the clock.", "s", default=None)
    verify_s: float | None = column("cost", "verification s", "Time of the verification by the clock.", "s", default=None)
    gradient_evals: int | None = column("cost", "gradients", "Gradient evaluations of batches.", default=None)
    step_equivalents: float | None = column(
        "cost", "step equivalents", "Device time per claimed step divided by that of an honest step.", default=None
    )

    size_bytes: int | None = column("size", "size", "All files together.", "bytes", default=None, shown=("listing",))
    size_weights_bytes: int | None = column("size", "size of weights", "Recorded weights.", "bytes", default=None)
    size_optimizer_bytes: int | None = column("size", "size of optimizer state", "Recorded optimizer state.", "bytes", default=None)
    size_indices_bytes: int | None = column("size", "size of indices", "Indices and hashes of batches.", "bytes", default=None)
    size_points_bytes: int | None = column("size", "size of points", "Crafted points.", "bytes", default=None)
    size_overhead_bytes: int | None = column("size", "size of the rest", "The rest of the files.", "bytes", default=None)

    num_points: int | None = column("crafting", "points", "Points in the proof that no dataset has.", default=None)
    perturbation_linf: float | None = column(
        "crafting", "|R| linf", "Largest change of a pixel.", "share of [0, 1]", default=None
    )
    perturbation_l2: float | None = column("crafting", "|R| l2", "Largest l2 norm of a search's perturbations.", default=None)
    grad_norm2_before: float | None = column("crafting", "|grad|^2 before", "Squared distance of the gradient from its goal before crafting, mean over searches.", default=None)
    grad_norm2_after: float | None = column("crafting", "|grad|^2 after", "The same after crafting.", default=None)
    loss_before: float | None = column("crafting", "loss before", "Training loss before crafting, mean over searches.", default=None)
    loss_after: float | None = column("crafting", "loss after", "The same after crafting.", default=None)
    retries: float | None = column("crafting", "retries", "Times that fresh batches were drawn, mean over searches.", default=None)
    acceptance_rate: float | None = column(
        "crafting", "accepted", "Searches that ended within the attack's limits on gradient and perturbation.", "share", default=None
    )

    started_at: str = column("provenance", "started", "When work on the trial began, UTC.", "ISO 8601", default="", shown=("listing_end",))
    versions: str = column("provenance", "versions", "Versions of Python, raypol and libraries, as JSON.", default="")
    commit: str = column("provenance", "commit", "Git commit of raypol; -dirty if its files were changed.", default="", shown=("tag",))

    @property
    def is_honest(self) -> bool:
        """True for the row of an honest proof, False for a spoof's."""
        return self.attack == NO_ATTACK

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
        return " ".join([self.threshold_kind, *(f"{m}={value:g}" for m, value in known.items() if value is not None)]).strip()


@row
class IntervalRow:
    """One verified interval in one metric."""

    sweep_id: str = column("identity", "sweep", "As in the trial's row.")
    trial_id: str = column("identity", "trial", "As in the trial's row.")
    proof_id: str = column("identity", "proof", "As in the trial's row.")
    step_from: int = column("task", "from step", "Step of the recorded weights that the replay starts from.", "steps")
    step_to: int = column("task", "to step", "Step t of the recorded weights that it is compared with.", "steps")
    metric: str = column("errors", "metric", "l1, l2, linf or cos.")
    distance: float = column("errors", "error", "Reproduction error eps_repr = d(W_t recorded, W'_t replayed).", "weights (cos: none)")
    normalised: float = column("errors", "normalised error", "distance / d_ref, the distance of two honest runs.", "d_ref")
    threshold: float = column("verdict", "threshold", "Slack delta at this step.", "as distance")
    passed: bool = column("verdict", "passed", "True if distance is finite and at most the threshold.")
    movement: float = column("errors", "jump", "d(W_{t-k}, W_t): the error of no update at all.", "as distance")
    control: float | None = column(
        "errors", "null", "eps_repr of the same interval with unperturbed batches; empty in an honest row.", "as distance"
    )
    removed_share: float | None = column("errors", "removed share", f"{_SHARE}; empty where null errs no more than jump.".format("this metric"))
    state_distance: float = column(
        "errors", "state error", "Distance between where the recorded and the replayed optimizer state would drift.", "as distance"
    )
    buffer_distance: float = column(
        "errors", "buffer error", "Error of the norm layers' statistics; reported, never judged.", "as distance"
    )
    accuracy: float = column("errors", "accuracy", "Test accuracy of W_t.", "share")
    loss: float = column("errors", "loss", "Mean training loss over the replayed steps.")
