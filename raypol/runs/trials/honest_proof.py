"""The honest proof of a trial and d_ref: made once, named by content, shared by all trials."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from raypol.cluster.jobs import ProveJob, run_prove
from raypol.cluster.runners import Runner
from raypol.core.datasets.source import DataSource
from raypol.core.distances import Distances, parameter_distances
from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Recipe, final_checkpoint
from raypol.core.verification.policies import sound
from raypol.runs.trials.environment import environment_of
from raypol.runs.trials.verify import survey_proof
from raypol.store.location import Location, open_location
from raypol.store.locks import only_maker
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.reader import ParquetProof, read_manifest
from raypol.store.results_folder import ResultsFolder

_POLL_S: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class HonestProof:
    """A proof in the results folder."""

    folder: Location
    manifest: Manifest
    reused: bool = field(default=False)
    """True if it was there already; its times are from then."""

    @property
    def proof_id(self) -> str:
        """Name of its folder."""
        return self.folder.name


def proof_at(address: str) -> HonestProof:
    """A proof that is there already.

    Raises:
        InputError: it is none that can be read.
    """
    folder = open_location(address)
    return HonestProof(folder=folder, manifest=read_manifest(folder), reused=True)


def proof_id_of(kind: str, content: Mapping[str, object]) -> str:
    """A short name: the kind, and a digest of everything that decides its bytes."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def honest_proofs(
    runner: Runner,
    results: Location,
    recipes: Sequence[Recipe],
    data: DataSource,
    *,
    on_progress: Progress = no_progress,
) -> list[HonestProof]:
    """The proofs of these recipes: read those that are there, make the others in parallel.

    Two runs in one local folder do not make the same proof twice: the second waits for the first.
    """
    environment = environment_of(runner, "prover")
    ids = [
        proof_id_of("proof", {"recipe": recipe.canonical().decode(), "environment": sorted(environment.items())})
        for recipe in recipes
    ]
    wanted = dict(zip(ids, recipes, strict=True))  # each once
    with only_maker(results, wanted):
        # Made before anything lists it: pyarrow takes a folder that appears while it looks for an error.
        ResultsFolder(results).staging.make_folder()
        making: dict[str, Future[Manifest]] = {}
        for proof_id, recipe in wanted.items():
            if ResultsFolder(results).has_proof(proof_id):
                continue
            job = ProveJob(
                results=results.address,
                proof_id=proof_id,
                recipe=recipe,
                data=data,
                device=runner.device("prover"),
                environment=environment,
            )
            making[proof_id] = runner.submit("prover", run_prove, job)
        found = {}
        for proof_id in wanted:
            folder, future = ResultsFolder(results).proof(proof_id), making.get(proof_id)
            while future is not None and not future.done():
                with suppress(OSError):  # storage that is away for a moment shows no progress, and that is all
                    done, of = _written(results, wanted)
                    # Until then workers load torch and the dataset, whose time says nothing of a step's.
                    on_progress(
                        "honest training, steps" if done else "starting honest training", done, of if done else 0
                    )
                wait([future], timeout=_POLL_S)
            if future is not None and future.exception() is not None:
                continue
            manifest = future.result() if future is not None else read_manifest(folder)
            found[proof_id] = HonestProof(folder=folder, manifest=manifest, reused=future is None)
        for future in making.values():  # only now: the other proofs are finished, and will be found
            future.result()
        return [found[proof_id] for proof_id in ids]


def _written(results: Location, wanted: Mapping[str, Recipe]) -> tuple[int, int]:
    """(steps recorded so far, steps in all), counted in the store, where a worker on any node shows its progress."""
    done = 0
    for proof_id, recipe in wanted.items():
        if ResultsFolder(results).has_proof(proof_id):
            done += recipe.steps
            continue
        done += min(intervals_written(results, proof_id) * recipe.interval, recipe.steps)
    return done, sum(recipe.steps for recipe in wanted.values())


def intervals_written(results: Location, proof_id: str) -> int:
    """The number of intervals of an unfinished proof with both their ends in the store."""
    names = [name for name, _ in ResultsFolder(results).staging.files() if name.startswith(f"{proof_id}-")]
    return max(sum("/weights/step=" in name and name.endswith(".parquet") for name in names) - 1, 0)


def reference_distance(first: Location, second: Location) -> Distances:
    """d_ref: the distance between the final weights of two honest runs that differ only in seed.

    Raises:
        InputError: the two differ in more, or in nothing.
    """
    a, b = ParquetProof(first), ParquetProof(second)
    # A bound seed is the hash of two shares, of which the prover's own differs as well.
    same = replace(a.recipe, seed=0, shares=(), interval=1) == replace(b.recipe, seed=0, shares=(), interval=1)
    if not same or a.recipe.seed == b.recipe.seed:
        raise InputError(f"d_ref needs two honest proofs that differ only in seed; {first} and {second} do not")
    ends = [final_checkpoint(source).parameters for source in (a, b)]
    try:
        return parameter_distances(*ends)
    except ValueError as err:
        raise InputError(f"the final weights of {first} and {second} do not compare: {err}") from err


def claimed_distance(spoof: Location, honest: Location) -> Distances:
    """Distance between the last weights of a spoof and those of the honest proof: 0 where W_T itself is claimed."""
    ends = [final_checkpoint(ParquetProof(folder)).parameters for folder in (spoof, honest)]
    return parameter_distances(*ends)


def checked_reference(
    runner: Runner,
    first: Location,
    second: Location,
    recipe: Recipe,
    data: DataSource,
    *,
    on_progress: Progress = no_progress,
) -> Distances:
    """d_ref of two proofs that come from elsewhere: each is first checked as far as that goes without a replay.

    Raises:
        InputError: one is unsound, they are about other data or another model than the proof they are to judge, or
            `reference_distance` says no.
    """
    for folder in (first, second):
        found = survey_proof(runner, folder, data, on_progress=on_progress)
        if found.recipe.model != recipe.model:
            raise InputError(f"{folder} is no reference for a {recipe.model}: it is of model {found.recipe.model!r}")
        if problems := [f"{check.name}: {check.detail}" for check in sound(found).checks if not check.passed]:
            raise InputError(f"{folder} is no honest reference: {problems[0]}")
    return reference_distance(first, second)
