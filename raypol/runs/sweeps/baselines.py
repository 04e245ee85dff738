"""The baselines of a sweep: proof, d_ref and honest row of every honest configuration, made once and found ever after."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from raypol.cluster.inventory import groups_at_once, nodes_to_start
from raypol.cluster.placement import DeviceRequest
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import Role, WorkerLostError
from raypol.cluster.scaling import ClusterView
from raypol.cluster.shared_folder import check_visible
from raypol.core.datasets.source import DataSource
from raypol.core.progress import Progress, TimeLeft
from raypol.core.proof import Recipe
from raypol.core.training.train_config import TrainConfig
from raypol.runs.sweeps.plan import SweepOptions
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.trials.honest_proof import HonestProof, honest_proofs, reference_distance
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.runs.trials.trial import run_honest
from raypol.runs.trials.verify import REPLAYING
from raypol.store.proofs.reader import read_manifest
from raypol.store.results.files import read_trial
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder
from raypol.store.retries import storage_retries

_log = logging.getLogger(__name__)


def honest_trial_id(sweep_id: str, key: str) -> str:
    """Name of the honest row of a configuration, see `Trial.honest_key`."""
    return f"trial-{sweep_id}-{key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The honest proof, d_ref and honest row that the trials of one honest configuration are compared with."""

    study: Study
    honest: TrialRow


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineMaker:
    """Makes or finds the baselines of a sweep."""

    record: SweepRecord
    options: SweepOptions
    view: ClusterView
    requests: Mapping[str, DeviceRequest]
    """Device spelling -> what the nodes call it."""
    own: HonestProof | None
    """The one proof that there is already, of all trials alike; None = proofs are made."""
    on_progress: Progress
    on_outcome: Callable[[TrialOutcome], None]

    def baselines(self, trials: Sequence[Trial]) -> tuple[dict[str, Baseline], dict[str, Exception]]:
        """Baselines by `Trial.honest_key`, and the errors of those that could not be made.

        Missing ones are made in parallel, one pair of prover and verifier after the other.
        """
        distinct = {trial.honest_key(): trial for trial in trials}
        found: dict[str, Baseline] = {}
        failed: dict[str, Exception] = {}
        missing: dict[tuple[str, str], dict[str, Trial]] = {}
        for key, trial in distinct.items():
            baseline = storage_retries(self._find, key)
            if baseline is None:
                missing.setdefault((trial.prover, trial.verifier), {})[key] = trial
            else:
                found[key] = baseline
        for (prover, verifier), wanted in missing.items():
            try:
                with self._runner(prover, verifier, 2 * len(wanted)) as runner:
                    check_visible(self.record.results)  # nodes that were started for this saw no check yet
                    made, broken = self._make(runner, wanted)
            except WorkerLostError as err:
                made, broken = {}, dict.fromkeys(wanted, err)
            found |= made
            failed |= broken
        return found, failed

    @contextmanager
    def _runner(self, prover: str, verifier: str, most: int) -> Iterator[RayRunner]:
        """A runner with a worker per proof, as far as there is room."""
        proving, judging = self.requests[prover], self.requests[verifier]
        group = list(dict.fromkeys((proving, judging)))
        for request, kind in nodes_to_start(group, self.view.nodes, self.view.scalable):
            self.on_progress(f"waiting for the autoscaler to start a {kind} node for {request}", 0, 0)
        workers = max(1, groups_at_once(group, self.view.nodes, self.view.scalable, most=most))
        devices: dict[Role, DeviceRequest] = {"prover": proving, "spoofer": proving, "verifier": judging}
        self.on_progress("starting workers", 0, 0)
        with RayRunner(devices, workers=workers, patience_s=self.options.patience_s) as runner:
            yield runner

    def _make(self, runner: RayRunner, trials: Mapping[str, Trial]) -> tuple[dict[str, Baseline], dict[str, Exception]]:
        recipes, references = self._recipes(runner, trials)
        if self.own is not None:
            recipe = self.own.manifest.recipe
            references = {
                key: replace(recipe, seed=one.seed, shares=one.shares, interval=recipe.steps)
                for key, one in references.items()
            }
            recipes = dict.fromkeys(trials, recipe)
        by_data: dict[Any, dict[bytes, Recipe]] = {}
        for key, trial in trials.items():
            wanted = by_data.setdefault(trial.train.data, {})
            wanted |= {recipe.canonical(): recipe for recipe in (recipes[key], references[key])}
        proofs: dict[bytes, HonestProof | Exception] = {}
        if self.own is not None:
            proofs[self.own.manifest.recipe.canonical()] = self.own
            for wanted in by_data.values():
                wanted.pop(self.own.manifest.recipe.canonical(), None)
        for data, wanted in by_data.items():
            proofs |= self._proofs(runner, data, wanted)
        made: dict[str, Baseline] = {}
        failed: dict[str, Exception] = {}
        lengths = [recipes[key].num_intervals for key in trials]
        for number, (key, trial) in enumerate(trials.items()):
            show = self._judging(sum(lengths[:number]), sum(lengths))
            show(REPLAYING, 0, lengths[number])
            proof, reference = proofs[recipes[key].canonical()], proofs[references[key].canonical()]
            if isinstance(proof, Exception) or isinstance(reference, Exception):
                failed[key] = proof if isinstance(proof, Exception) else reference  # type: ignore[assignment]
                continue
            try:
                made[key] = storage_retries(self._judge, runner, key, trial, proof, reference, show)
            except Exception as err:
                failed[key] = err
        return made, failed

    def _proofs(
        self, runner: RayRunner, data: DataSource, wanted: Mapping[bytes, Recipe]
    ) -> dict[bytes, HonestProof | Exception]:
        """Make all in parallel; if that fails, one by one, so that each has its own error."""

        def make(recipes: Sequence[Recipe]) -> list[HonestProof]:
            return storage_retries(
                honest_proofs, runner, self.record.results, recipes, data, on_progress=self.on_progress
            )

        try:
            return dict(zip(wanted, make(list(wanted.values())), strict=True))
        except Exception as err:
            _log.warning("an honest proof failed (%s); trying one by one", err)
        found: dict[bytes, HonestProof | Exception] = {}
        for name, recipe in wanted.items():
            try:
                (found[name],) = make([recipe])
            except Exception as err:
                found[name] = err
        return found

    def _judging(self, before: int, of: int) -> Progress:
        """Progress of one proof's replays, after those of other proofs, of so many in all."""

        def show(what: str, done: int, _: int, __: TimeLeft | None = None) -> None:
            if what == REPLAYING:
                self.on_progress("verifying honest proofs, intervals", before + done, of)

        return show

    def _judge(
        self,
        runner: RayRunner,
        key: str,
        trial: Trial,
        proof: HonestProof,
        reference: HonestProof,
        on_progress: Progress,
    ) -> Baseline:
        study = self._study(proof, reference)
        trial_id = honest_trial_id(self.record.sweep_id, key)
        outcome = run_honest(runner, study, trial, trial_id=trial_id, on_progress=on_progress)
        names = {"proof": proof.proof_id, "reference": reference.proof_id, "trial": outcome.row.trial_id}
        self.record.write_note("honest", key, names)
        self.on_outcome(outcome)
        return Baseline(study=study, honest=outcome.row)

    def _recipes(self, runner: RayRunner, trials: Mapping[str, Trial]) -> tuple[dict[str, Recipe], dict[str, Recipe]]:
        """The recipes of the proofs and of their references. A proof of the next seed serves as a reference: the weights do not
        depend on how often they are recorded.
        """
        threads, device = runner.request("prover").threads, runner.device("prover")

        def recipe(train: TrainConfig) -> Recipe:
            return train.recipe(train.data.load(), device=device, threads=threads)

        recipes = {key: recipe(trial.train) for key, trial in trials.items()}
        ends = {replace(one, interval=1).canonical(): one for one in recipes.values()}
        references = {key: recipe(trial.train.reference()) for key, trial in trials.items()}
        return recipes, {
            key: ends.get(replace(reference, interval=1).canonical(), reference)
            for key, reference in references.items()
        }

    def _find(self, key: str) -> Baseline | None:
        """A baseline that an earlier run made, if it is all there."""
        names = self.record.read_note("honest", key, "trial", "proof", "reference")
        if names is None:
            return None
        row = read_trial(self.record.results, names["trial"])
        paths = ResultsFolder(self.record.results)
        made = [names["reference"]] if self.own else [names["proof"], names["reference"]]
        if row is None or row[0].status != "ok" or not all(map(paths.has_proof, made)):
            return None
        found = [
            HonestProof(folder=folder, manifest=read_manifest(folder), reused=True) for folder in map(paths.proof, made)
        ]
        proof, reference = [self.own, *found] if self.own else found
        return Baseline(study=self._study(proof, reference), honest=row[0])

    def _study(self, proof: HonestProof, reference: HonestProof) -> Study:
        return Study(
            sweep_id=self.record.sweep_id,
            results=self.record.results,
            proof=proof,
            d_ref=reference_distance(proof.folder, reference.folder),
            early_stop=self.options.early_stop,
            estimate=self.options.estimate,
            keep=self.options.keep,
        )
