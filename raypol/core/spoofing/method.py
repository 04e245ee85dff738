"""The form of an attack: its configuration, what it uses and declares, and how it crafts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import torch

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Interval, ProofSource, Recipe
from raypol.core.seeds import derive_seed
from raypol.core.spoofing.grants import Grant, check_granted
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.spoof_config import SpoofConfig, declare, declare_as_recorded, used_by_choices
from raypol.core.spoofing.trajectory import Trajectory, WeightPath
from raypol.core.training.trainer import Trainer

Ignored = Literal["path", "buffers"]
C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class Craft(Protocol[C_contra]):
    """An attack: from the scene and an interval's recorded start to the interval's data."""

    def __call__(self, scene: Scene, interval: Interval, start: Checkpoint, config: C_contra) -> Crafted:
        """Craft the interval's batches. `start` is W_{t-k} with the optimizer state that will be recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackMethod(Generic[C]):
    """How an attack is run."""

    config: type[C]
    """Its hyperparameters."""
    craft: Craft[C]
    declare: Callable[[Recipe, C], Recipe] = lambda recipe, _: recipe
    """What the attack changes in the declared recipe."""
    sequential: Callable[[C, SpoofConfig], bool] = lambda _, __: False
    """True if intervals are crafted while sealing: each needs the one before, or crafting costs nothing."""
    forges_state: bool = False
    """The recorded optimizer state is invented; the unperturbed reference starts from an empty one."""
    independent: bool = True
    """False: an interval cannot be crafted without all before it."""
    declares_trace: bool = False
    """True: what the honest proof declares is declared as it is, its seed too; a choice that contradicts it is refused."""
    shares_work: bool = False
    """True if all intervals share work that is made once: then no sample of them tells what the whole costs."""
    uses: tuple[Grant, ...] = ("weights",)
    """What the attack needs to be granted, besides what `SpoofConfig`'s choices use."""
    uses_also: Callable[[C], tuple[Grant, ...]] = lambda _: ()
    """What it needs besides under some hyperparameters."""
    ignores: tuple[Ignored, ...] = ()
    """Choices of A that change nothing here, for training decides instead: others than the usual ones are refused."""
    chooses_batches: Callable[[C], bool] = lambda _: False
    """Whether the batches are the attack's to choose, so that those of the declared seed are refused."""
    source: str = ""
    """The paper that published it; empty = measured first in this project."""
    path: Callable[[Scene, C], WeightPath] = lambda scene, _: scene.trajectory
    """The claimed weights, where they are not the straight way from the chosen W_0 to W_T; may be built at first use, for that
    is when the clock runs."""
    work: Callable[[C, Recipe, int], float] | None = None
    """Honest steps that crafting a whole spoof costs, given the recipe and N, where running one short interval does not tell."""


def craft(method: AttackMethod[C], scene: Scene, interval: Interval, start: Checkpoint, config: C) -> Crafted:
    """Craft from a seed of the interval's own: what torch draws by itself is the same in any process and order."""
    torch.manual_seed(derive_seed(scene.seed, "crafting", interval.index))
    return method.craft(scene, interval, start, config)


def spoof_recipe(
    method: AttackMethod[C], attack: C, spoof: SpoofConfig, honest: Recipe, dataset: Dataset | None = None
) -> Recipe:
    """The recipe that a spoof will declare, if all that it uses is granted.

    Args:
        method: the attack.
        attack: its hyperparameters.
        spoof: A's other choices.
        honest: of the proof whose W_T is stolen.
        dataset: A's, needed only if `spoof` names one.

    Raises:
        NotGrantedError: the attack or a choice uses what A was not granted.
        InputError: choices that contradict each other.
    """
    name = type(attack).__name__
    needed = (*method.uses, *method.uses_also(attack))
    chosen = used_by_choices(
        spoof, interval=honest.interval, batch_size=honest.batch_size, is_augmented=honest.transform.is_random
    )
    check_granted(dict(chosen) | dict.fromkeys(needed, f"attack {name}"), spoof.grants)
    check_choices(method, attack, spoof)
    if "own_points" in method.uses and spoof.augmentation == "honest" and honest.transform.is_random:
        raise InputError(
            f"attack {name} contradicts augmentation honest: it crafts points, which a replay would crop and flip anew"
        )
    recipe = declare_as_recorded(honest, spoof) if method.declares_trace else declare(honest, spoof, dataset)
    return method.declare(recipe, attack)


def check_choices(method: AttackMethod[C], attack: C, spoof: SpoofConfig) -> None:
    """Raise the InputError for choices of A that contradict the attack, whatever the honest proof."""
    name = type(attack).__name__
    if spoof.data_order == "declared" and method.chooses_batches(attack):
        raise InputError(f"attack {name} chooses the batches: it contradicts data_order declared, expected own")
    for choice in method.ignores:
        chosen, usual = (_choice(choices, choice) for choices in (spoof, SpoofConfig()))
        if chosen != usual:
            raise InputError(
                f"attack {name} contradicts {choice} {chosen}: it really trains, expected {choice} {usual}"
            )


def _choice(spoof: SpoofConfig, name: Ignored) -> str:
    return spoof.trajectory.path if name == "path" else spoof.buffers


def make_scene(
    method: AttackMethod[C],
    attack: C,
    spoof: SpoofConfig,
    recipe: Recipe,
    dataset: Dataset,
    target: Checkpoint,
    device: torch.device | str = "cpu",
    *,
    trace: ProofSource | None = None,
) -> Scene:
    """Set the scene for a declared recipe.

    Args:
        method: the attack.
        attack: its hyperparameters.
        spoof: A's other choices.
        recipe: see `spoof_recipe`.
        dataset: A's.
        target: W_T.
        device: where to craft.
        trace: the honest proof; it is handed on only if it is granted.
    """
    scene = Scene(
        recipe=recipe,
        dataset=dataset,
        trajectory=Trajectory(target, recipe, dataset, spoof.trajectory, spoof.seed),
        trainer=Trainer(recipe, dataset, device),
        choices=spoof,
        trace=trace if "trace" in spoof.grants else None,
    )
    scene.trajectory = method.path(scene, attack)
    return scene
