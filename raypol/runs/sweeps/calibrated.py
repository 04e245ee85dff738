"""Policies that are made of honest runs before a sweep begins: kept in the results folder, so that a resumed one has the same."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from raypol.cluster.placement import DeviceRequest, parse_device
from raypol.cluster.ray_runner import RayRunner
from raypol.cluster.runners import Role
from raypol.core.attacks import find_attack
from raypol.core.progress import Progress, no_progress
from raypol.core.verification.policies import Policy, PolicyKind, calibrate
from raypol.runs.designs.design import Arm, Design
from raypol.runs.designs.points import honest_points, trial_at
from raypol.runs.trials.calibration import honest_evidence
from raypol.runs.trials.environment import versions_text
from raypol.store.location import Location
from raypol.store.policies import ENDING, read_policy, write_policy
from raypol.store.results_folder import ResultsFolder

KINDS: Final[tuple[PolicyKind, ...]] = ("calibrated", "bound")


def calibrated_design(
    design: Design, results: Location, address: str | None, *, on_progress: Progress = no_progress
) -> Design:
    """The design with the policies that its `calibrate_on` asks for.

    Args:
        design: of the sweep.
        results: proofs and policies that are there are not made again.
        address: of a running cluster; None starts Ray on this machine for as long as this call lasts.
        on_progress: called with trained steps, then with examined proofs.
    """
    folder, key = ResultsFolder(results).policies, _key(design)
    files = {kind: folder / f"{kind}-{key}{ENDING}" for kind in KINDS}
    if not all(file.exists() for file in files.values()):
        on_progress("starting Ray", 0, 0)
        with RayRunner(_devices(design), address=address) as runner:
            conditions = design.examination.conditions
            found = honest_evidence(
                runner, results, design.train, design.calibrate_on, conditions, on_progress=on_progress
            )
        folder.make_folder()
        for kind, file in files.items():
            write_policy(file, calibrate(found, kind=kind, versions=versions_text()))
    return judged_by(design, list(map(read_policy, files.values())))


def judged_by(design: Design, policies: Sequence[Policy]) -> Design:
    """The design with policies that were made of honest runs, whatever order they come in, and with adversaries who know their
    envelope.
    """
    names: list[str] = list(KINDS)
    policies = sorted(policies, key=lambda one: names.index(one.name) if one.name in names else len(names))
    arms = {name: _informed(arm, policies) for name, arm in design.arms.items()}
    return replace(design, arms=arms, policies=(*design.policies, *policies), calibrate_on=())


def _informed(arm: Any, policies: Sequence[Policy]) -> Any:  # noqa: ANN401 - what a design takes for an arm
    """The arm with the limits of the first policy that has an envelope, if its adversary is to know them."""
    found = [use.parameters["limits"]["l2"] for policy in policies for use in policy.checks if use.check == "envelope"]
    if not found or not isinstance(arm, Arm) or not arm.knows_envelope:
        return arm
    limits = found[0]
    attack = find_attack(arm.attack) if isinstance(arm.attack, str) else arm.attack
    return replace(arm, attack=replace(attack, envelope=tuple(limits)))


def _devices(design: Design) -> dict[Role, DeviceRequest]:
    """The devices of the design's first trial."""
    trial = trial_at(design, honest_points(design)[0])
    prover, verifier = parse_device(trial.prover), parse_device(trial.verifier)
    return {"prover": prover, "spoofer": prover, "verifier": verifier}


def _key(design: Design) -> str:
    train = replace(design.train, data_dir=None, seed=0)
    content = f"{train!r} {design.calibrate_on} {design.examination.conditions!r} {versions_text()}"
    return hashlib.sha256(content.encode()).hexdigest()[:12]
