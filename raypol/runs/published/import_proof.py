"""Import of a proof folder of the published PoL code, one checkpoint in memory at a time.

Facts that the folder records are taken from it; a contradicting claim is an error. Facts that it does not record must be
claimed, and the proof's manifest lists them as asserted.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from raypol.core import hashing
from raypol.core.arithmetic.precision import cast
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.models.constructed import given_digests
from raypol.core.models.initial_laws import initial_laws
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import BatchRecord, Cost, Recipe
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.trainer import Trainer, state_template
from raypol.runs.published.import_options import Claims
from raypol.runs.published.update_rule import check_rule, rule_of
from raypol.runs.trials.environment import versions
from raypol.store.location import Location, writable_folder
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.writer import new_proof
from raypol.store.published.folder import PublishedFolder, open_published
from raypol.store.published.state import Declared
from raypol.store.results_folder import ResultsFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A proof that came from a published folder."""

    folder: Location
    manifest: Manifest
    has_hash: bool
    """Whether there was a hash.txt."""
    several_gpus: bool
    """Whether its tensors were named as torch's DataParallel names them."""


def import_published(
    source: Path,
    results: str,
    claims: Claims,
    *,
    on_progress: Progress = no_progress,
) -> Imported:
    """Read, check and record a folder of the published code.

    Args:
        source: the folder.
        results: gets the proof, as proofs/imported-<beginning of its root>.
        claims: facts that the folder does not record.
        on_progress: called as checkpoints are read.

    Raises:
        InputError: the folder is damaged, hostile, of another model or dataset, or contradicts itself or the claims.
    """
    transform = claims.declared_transform()
    if claims.interval is not None and claims.interval < 1:
        raise InputError(f"expected an interval (k) >= 1 step, got {claims.interval}")
    dataset = claims.data.load()
    found = open_published(source, len(dataset), interval=claims.interval)
    declared, fixed, given = _declare(claims.model, dataset)
    start = found.state(0, declared)
    optimizer, schedule, asserted = rule_of(start, claims)
    recipe = Recipe(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        model=claims.model,
        steps=found.steps,
        interval=found.interval,
        batch_size=found.batch_size,
        optimizer=optimizer,
        schedule=schedule,
        transform=transform,
        channels_last=False,
        given=given,
    )
    kinds = state_template(Trainer(replace(recipe, steps=recipe.interval), dataset))
    rates = learning_rates(replace(recipe, steps=recipe.steps + 1))
    steps = recipe.checkpoint_steps()
    place = writable_folder(results)
    with new_proof(place, "imported-{root}", recipe, len(dataset)) as writer:
        for position, step in enumerate(steps):
            state = start if step == 0 else found.state(step, declared)
            check_rule(state, start, float(rates[step]))
            if step > 0:
                writer.write_batches(_records(found, dataset, steps[position - 1], step))
            writer.write_checkpoint(state.checkpoint(declared, kinds, fixed))
            on_progress("reading checkpoints", position + 1, len(steps))
        manifest = writer.finish(Cost(), {**versions(), "imported from": "published layout"}, asserted=asserted)
    return Imported(
        folder=ResultsFolder(place).proof(f"imported-{manifest.root[:12]}"),
        manifest=manifest,
        has_hash=found.has_hash,
        several_gpus=start.several_gpus,
    )


def _declare(model_name: str, dataset: Dataset) -> tuple[Declared, dict[str, torch.Tensor], dict[str, str]]:
    """Tensors of the model's state dict, the buffers that it leaves out, and the digests of what it gives W_0."""
    model = build_model(model_name, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)
    given = given_digests(initial_laws(model), torch.float32)
    cast(model, "float32")
    net = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    buffers = dict(model.named_buffers())
    declared = Declared(
        model=model_name,
        net={name: (tensor.shape, tensor.dtype) for name, tensor in net.items()},
        parameters=tuple(name for name, _ in model.named_parameters()),
        buffers=tuple(name for name in buffers if name in net),
    )
    return declared, {name: buffer.detach().clone() for name, buffer in buffers.items() if name not in net}, given


def _records(found: PublishedFolder, dataset: Dataset, start: int, stop: int) -> list[BatchRecord]:
    """Recorded indices I, and hashes H computed from the dataset."""
    digests = dataset.point_digests
    return [
        BatchRecord(step, indices, hashing.step_digest(step, digests[indices]))
        for step, indices in enumerate(found.rows(start, stop), start=start)
    ]
