"""The whole protocol in this process: prove, spoof, examine, verify (docs/protocol.md).

The functions beneath it write to any sink and run in any order on any machine; here a proof is kept in memory.
"""

from collections.abc import Callable

import torch

from raypol.core.arithmetic.machine import machine_class
from raypol.core.arithmetic.precision import usable_device
from raypol.core.attacks import find_attack, method_of
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import Distances
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof, ProofSource, Recipe, final_checkpoint
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.scene import Crafted
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.prover import record_training
from raypol.core.training.train_config import TrainConfig, check_recipe
from raypol.core.verification.policies import Policy, PolicyFunction, find_policy, strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import examine


class ForgedProof(MemoryProof):
    """A sealed spoof in memory."""

    stats: tuple[CraftStats, ...] = ()
    """What each search found, in order; empty for attacks that search nothing."""


def prove(training: TrainConfig | Recipe, dataset: Dataset, *, device: torch.device | str = "cpu") -> MemoryProof:
    """Train honestly and record the proof (prover T; Jia et al. 2021, arXiv:2103.05633, Algorithm 1).

    Args:
        training: what to train and for how long; a `Recipe` is the full declaration A that the proof will carry.
        dataset: the public dataset that it names.
        device: where to train.

    Returns:
        The sealed proof: `root` binds all of it, `cost` is what training and recording took.

    Raises:
        InputError: training diverged, the configuration does not fit the dataset, or the device is not there.
    """
    if isinstance(training, TrainConfig):
        kind = usable_device(device).type
        training = training.recipe(dataset, device=kind, threads=torch.get_num_threads())
    proof = MemoryProof(training, len(dataset))
    proof.cost = record_training(training, dataset, proof, device=device)
    proof.machine = machine_class(device)
    proof.seal()
    return proof


def spoof(
    target: ProofSource,
    dataset: Dataset,
    attack: object,
    config: SpoofConfig,
    *,
    device: torch.device | str = "cpu",
    on_interval: Callable[[Crafted], None] = lambda _: None,
) -> ForgedProof:
    """Forge a proof for the final weights of another (adversary A; Zhang et al. 2022, arXiv:2108.09454).

    Args:
        target: the proof whose W_T is stolen; nothing else of it is used but what A would declare as well, unless trace
            is granted.
        dataset: A's data: the proof's own dataset, or the one that `config.dataset` names.
        attack: preset name, import path, or configuration, see `find_attack`.
        config: T', k, trajectory and A's other choices.
        device: where to craft.
        on_interval: called with each interval as it is sealed.

    Returns:
        The sealed spoof, with its cost and what its searches found.

    Raises:
        InputError: choices that contradict each other, the attack, or the dataset.
    """
    attack = find_attack(attack) if isinstance(attack, str) else attack
    method = method_of(attack)
    recipe = spoof_recipe(method, attack, config, target.recipe, dataset)
    if recipe.dataset_sha256 != dataset.sha256:
        raise InputError(f"the proof's dataset is not {dataset.name}; name other data in SpoofConfig(dataset=...)")
    check_recipe(recipe, dataset)
    stolen = final_checkpoint(target)
    scene = make_scene(method, attack, config, recipe, dataset, stolen, device, trace=target)
    crafted: list[Crafted] = []
    if not method.sequential(attack, config):
        crafted = [craft_interval(method, scene, interval, attack) for interval in recipe.intervals()]
    proof = ForgedProof(recipe, len(dataset))
    proof.machine = machine_class(device)

    def sealed(made: Crafted) -> None:
        proof.stats += made.stats
        on_interval(made)

    ready = iter(crafted) if crafted else None
    sealing = seal_spoof(method, scene, attack, ready, proof, on_interval=sealed)
    proof.cost = sum((made.cost for made in crafted), sealing)
    proof.seal()
    return proof


def verify(
    proof: ProofSource,
    dataset: Dataset,
    *,
    policy: PolicyFunction | str = "strict",
    thresholds: Thresholds | None = None,
    conditions: Conditions | None = None,
    d_ref: Distances | None = None,
    device: torch.device | str = "cpu",
) -> Verdict:
    """Replay every interval of a proof and judge what was found (verifier V; Jia et al. 2021, Algorithm 2).

    Args:
        proof: nothing in it is trusted, except that a model which its recipe names by import path is imported and called: look
            at `proof.recipe.model` first if the proof is someone else's.
        dataset: the public dataset.
        policy: a policy such as `strict`, or its name, see `find_policy`.
        thresholds: slack delta; None = `Policy.slack`: a share of each claimed move, the published one for `published`.
        conditions: None = those that the policy was calibrated under, else augmentation and precision as recorded.
        d_ref: distance between the final weights of two honest runs; relative and dynamic thresholds need it.
        device: where to replay.

    Raises:
        InputError: an unknown policy, thresholds without their d_ref, a proof about other data, or a device that cannot compute
            so.
    """
    if proof.recipe.dataset_sha256 != dataset.sha256:
        raise InputError(
            f"the proof is about other data than {dataset.name}; its recipe names {proof.recipe.dataset!r}"
        )
    judge = find_policy(policy) if isinstance(policy, str) else policy
    family = judge.family if isinstance(judge, Policy) else None
    conditions = conditions or (family.conditions() if family else Conditions(augmentation="recorded"))
    thresholds = thresholds or (judge if isinstance(judge, Policy) else strict).slack(conditions, proof.recipe.interval)
    thresholds.at(0.0, d_ref)  # bad combinations end here, not after the replay
    asked = judge if isinstance(judge, Policy) else strict
    evidence = examine(proof, dataset, conditions, device=device, wanted=asked.wanted, exact=asked.needs_exact)
    return judge(evidence, thresholds, d_ref)
