"""The row of a verified interval, one per metric."""

from raypol.store.results.columns import column, row


@row
class IntervalRow:
    """One verified interval in one metric."""

    sweep_id: str = column("identity", "sweep", "As in the trial's row.")
    trial_id: str = column("identity", "trial", "As in the trial's row.")
    proof_id: str = column("identity", "proof", "As in the trial's row.")
    step_from: int = column("task", "from step", "Step of the recorded weights that the replay starts from.", "steps")
    step_to: int = column("task", "to step", "Step t of the recorded weights that it is compared with.", "steps")
    metric: str = column("errors", "metric", "l1, l2, linf or cos.")
    distance: float = column(
        "errors", "error", "Reproduction error eps_repr = d(W_t recorded, W'_t replayed).", "weights (cos: none)"
    )
    normalised: float = column(
        "errors", "normalised error", "distance / d_ref, the distance of two honest runs.", "d_ref"
    )
    threshold: float = column("verdict", "threshold", "Slack delta at this step.", "as distance")
    passed: bool = column("verdict", "passed", "True if distance is finite and at most the threshold.")
    movement: float = column("errors", "jump", "d(W_{t-k}, W_t): the error of no update at all.", "as distance")
    control: float | None = column(
        "errors",
        "null",
        "eps_repr of the same interval with unperturbed batches; empty in an honest row.",
        "as distance",
    )
    removed_share: float | None = column(
        "errors", "removed share", "(null - attack) / (null - jump); empty where null errs no more than jump."
    )
    state_distance: float = column(
        "errors",
        "state error",
        "Distance between where the recorded and the replayed optimizer state would drift.",
        "as distance",
    )
    buffer_distance: float = column(
        "errors", "buffer error", "Error of the norm layers' statistics; reported, never judged.", "as distance"
    )
    accuracy: float = column("errors", "accuracy", "Test accuracy of W_t.", "share")
    loss: float = column("errors", "loss", "Mean training loss over the replayed steps.")
