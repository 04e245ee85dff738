"""`raypol prove --policy-target vc`: train in integers and prove every step."""

import math
from pathlib import Path
from typing import Final

from raypol.cli.budget import memory_limit
from raypol.cli.console import ERR, print_facts, print_last, say, warn
from raypol.cli.options import options_given
from raypol.cli.progress import progress
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError, local_path
from raypol.core.seeds import bound_seed
from raypol.core.training.train_config import TrainConfig
from raypol.core.verifiable.circuit import memory_bytes, num_constraints
from raypol.core.verifiable.claim import IntegerData, ProvedRun, linear_shape, train_integers
from raypol.core.verifiable.integer_model import (
    DEFAULT_LR_SHIFT,
    LINEAR_INTEGER,
    MAX_LR_SHIFT,
    integer_accuracy,
)
from raypol.core.verifiable.judging import ProvedEvidence
from raypol.runs.verifiable.groth16 import UNSAFE
from raypol.runs.verifiable.proving import check_memory, keys_name, make_keys, prove_run, proved_id
from raypol.store.location import Location, writable_folder
from raypol.store.results_folder import ResultsFolder
from raypol.store.verifiable.keys import KEYS_FILE, read_own_key
from raypol.store.verifiable.proof_folder import VC_MANIFEST, read_proved

_TAKEN: Final = ("dataset", "data_dir", "steps", "batch_size", "lr", "seed", "share")
"""Fields of the training that this one has."""


def prove_verifiably(train: TrainConfig, results: str, *, keys: str | None, max_memory: float | None) -> int:
    """Run `raypol prove --policy-target vc`."""
    _refuse_others(train)
    limit = memory_limit(max_memory)
    with progress(ERR) as update:
        dataset = train.data.load(update)
    run = proved_training(train, dataset)
    check_memory(run.shape, limit)
    train_integers(
        run, IntegerData(run, dataset)
    )  # a batch that is too large, or a weight out of range, ends here: before set-up
    vc = ResultsFolder(writable_folder(results)).verifiable
    if keys is None and not vc.is_local:
        raise InputError(f"keys lie on this machine; give --vc-keys, or a results folder on this machine, not {vc}")
    folder = local_path(keys) if keys is not None else Path(vc.path) / keys_name(run.shape)
    count = num_constraints(run.shape)
    say(
        f"{describe_run(run)}: {count:,} constraints per step, about {memory_bytes(count) / 1e9:.2g} GB to set up (estimate)",
        console=ERR,
    )
    if keys is None and not (folder / KEYS_FILE).exists():
        with progress(ERR) as update:
            update("making keys", 0, 0)
            make_keys(folder, run.shape, limit=limit)
    target = vc / proved_id(run, read_own_key(folder, run.shape)[1])
    reused = (target / VC_MANIFEST).exists()
    if not reused:
        with progress(ERR) as update:
            cost = prove_run(run, dataset, folder, target, limit=limit, on_progress=update)
        mean = sum(cost.proving_s) / len(cost.proving_s)
        say(
            f"proved {run.steps} steps: {mean:.1f} CPU s each, {cost.peak_bytes / 1e9:.2f} GB; training itself took "
            f"{cost.training_s / run.steps * 1e3:.2g} ms per step"
        )
    _describe(read_proved(target), dataset, target, reused=reused)
    warn(UNSAFE if keys is not None else f"{UNSAFE}; these were made here, by the prover")
    print_last(str(target))
    return 0


def proved_training(train: TrainConfig, dataset: Dataset) -> ProvedRun:
    """The run that a training's fields say.

    Raises:
        InputError: no circuit has these sizes.
    """
    shift = DEFAULT_LR_SHIFT if train.lr == TrainConfig().lr else learning_rate_shift(train.lr)
    shares = (str(train.seed), train.share) if train.share else ()
    return ProvedRun(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        shape=linear_shape(dataset, batch_size=train.batch_size, lr_shift=shift),
        steps=train.steps,
        seed=bound_seed(dataset.sha256, LINEAR_INTEGER, shares) if shares else train.seed,
        shares=shares,
    )


def learning_rate_shift(lr: float) -> int:
    """The s of a learning rate 2^-s.

    Raises:
        InputError: it is no such power of two.
    """
    shift = round(-math.log2(lr)) if 0.0 < lr < math.inf else -1
    if not 0 <= shift <= MAX_LR_SHIFT or lr != 2.0**-shift:
        raise InputError(
            f"expected lr as a power of two in 2^-{MAX_LR_SHIFT}..1 for a circuit (0.0625 = 1/16), got {lr:g}"
        )
    return shift


def _refuse_others(train: TrainConfig) -> None:
    if others := options_given(train, besides=_TAKEN):
        raise InputError(
            f"{others[0]} says nothing to --policy-target vc, which trains a linear model in integers; "
            f"possible: {', '.join('--' + name.replace('_', '-') for name in _TAKEN)}"
        )


def _describe(evidence: ProvedEvidence, dataset: Dataset, target: Location, *, reused: bool) -> None:
    run, shape = evidence.run, evidence.run.shape
    data = IntegerData(run, dataset)
    accuracy = integer_accuracy(evidence.final, data.inputs, dataset.labels)
    size = sum(size for _, size in target.files())
    note = " (it was there already; nothing was computed)" if reused else ""
    print_facts(
        [
            ("claims", f"{describe_run(run)}{note}"),
            ("accuracy", f"{accuracy:.3f} on the training points"),
            ("size", f"{size / 1e3:.1f} kB, 256 bytes per step's proof"),
            ("key", f"SHA-256 {evidence.key_sha256}, of {num_constraints(shape):,} constraints"),
        ]
    )


def describe_run(run: ProvedRun) -> str:
    """What a run claims, in words."""
    shape = run.shape
    return (
        f"{LINEAR_INTEGER} ({shape.features} x {shape.classes} weights) on {run.dataset}, {run.steps} steps, "
        f"batch {shape.batch_size}, learning rate 1/{1 << shape.lr_shift}"
    )
