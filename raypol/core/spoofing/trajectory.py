"""The intermediate models that a spoof claims: from a legal W_0 to the stolen W_T (docs/protocol.md, "Attacks")."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from raypol.core.arithmetic.precision import is_inexact
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError, reject_choice
from raypol.core.models import build_model
from raypol.core.models.initial_laws import Constant, Given, initial_laws
from raypol.core.models.legal_starts import closest_legal, mixed, rank_matched
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.seeds import generator
from raypol.core.training.prover import initial_checkpoint

Start = Literal["rank_matched", "ks_ball", "mixed", "honest", "bound"]
STARTS: Final[tuple[Start, ...]] = get_args(Start)
BOUND_STARTS: Final[tuple[Start, ...]] = ("honest", "bound")
"""Those that A does not choose."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TrajectoryConfig:
    """The path from W_0 to W_T."""

    path: Literal["linear", "eased", "noisy"] = "linear"
    """linear: s(t) = t/T'. eased: s(t) = 1 - (1 - t/T')^ease. noisy: W_T plus noise that falls with t (Zhang et al.
    2022, arXiv:2108.09454, Algorithm 5)."""
    ease: float = 2.0
    """eased only: exponent >= 1; larger means smaller moves late, the answer to dynamic thresholds. 1 = linear."""
    noise: float = 0.3
    """noisy only: sigma(0) in units of each tensor's root mean square in W_T; the perturbation strength of W_T."""
    noise_decay: float = 2.0
    """noisy only: sigma(t) = noise * (1 - t/T')^noise_decay."""
    start: Start = "rank_matched"
    """W_0: rank_matched = legal values in the order of W_T's; ks_ball = the closest to W_T that the Kolmogorov-Smirnov test still
    takes; mixed = rank matched and random values at a given cosine with W_T; honest = the draw of the declared seed; bound = the
    same, of a seed that the verifier has a share in."""
    cosine: float = 0.8
    """mixed only: cosine between W_0 and W_T over all tensors with a random law."""
    initial: Literal["strict", "published"] = "strict"
    """Constants of W_0 (norm scales, shifts): strict starts them where the law says, published leaves them at W_T's values."""

    def __post_init__(self) -> None:
        if self.path not in ("linear", "eased", "noisy"):
            reject_choice("path", self.path, ("linear", "eased", "noisy"))
        if self.start not in STARTS:
            reject_choice("start", self.start, STARTS)
        if not 0.0 <= self.cosine <= 1.0:
            raise InputError(f"expected cosine in 0..1, got {self.cosine}")
        if self.initial not in ("strict", "published"):
            reject_choice("initial", self.initial, ("strict", "published"))
        if not self.ease >= 1.0:
            raise InputError(f"expected ease >= 1, got {self.ease}")
        if not self.noise >= 0.0 or not self.noise_decay >= 0.0:
            raise InputError(f"expected noise and noise_decay >= 0, got {self.noise} and {self.noise_decay}")

    def __repr__(self) -> str:
        """Trials are named by this text: fields that came later are left out where they say nothing."""
        later = {"start": "rank_matched", "cosine": self.cosine if self.start != "mixed" else None}
        shown = [(f.name, getattr(self, f.name)) for f in fields(self)]
        words = [f"{name}={value!r}" for name, value in shown if name not in later or value != later[name]]
        return f"TrajectoryConfig({', '.join(words)})"


class WeightPath(Protocol):
    """The weights that a spoof claims at each step."""

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name."""

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t with its buffers, no optimizer state."""


class Trajectory:
    """W_t for every step t of a spoof; a pure function of (W_T, config, T', seed), so any actor can compute any W_t."""

    def __init__(
        self, target: Checkpoint, recipe: Recipe, dataset: Dataset, config: TrajectoryConfig, seed: int
    ) -> None:
        model = build_model(recipe.model, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)
        reject_foreign(target, model)
        self.config = config
        self.steps = recipe.steps
        self.seed = seed
        self.end = target.parameters
        self._recipe, self._dataset, self._laws = recipe, dataset, initial_laws(model)
        self._frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        self._end_buffers = target.buffers
        self._honest_steps = max(target.step, 1)
        self._start_buffers = {
            name: buffer.detach().to(self._end_buffers[name].dtype, copy=True) for name, buffer in model.named_buffers()
        }

    @cached_property
    def start(self) -> dict[str, Tensor]:
        """W_0 by name; found when it is first asked for, for finding it is part of A's cost."""
        target, laws, seed = self.end, self._laws, self.seed
        match self.config.start:
            case "honest" | "bound":
                start = dict(initial_checkpoint(self._recipe, self._dataset).parameters)
            case "ks_ball":
                start = closest_legal(target, laws, generator(seed, "closest legal W_0"))
            case "mixed":
                start = mixed(target, laws, generator(seed, "mixed W_0"), cosine=self.config.cosine)
            case "rank_matched":
                start = rank_matched(target, laws, generator(seed, "rank-matched W_0"))
        if self.config.initial == "published":  # the published verifier never looks at constants, a strict one does
            start |= {name: target[name].clone() for name, law in laws.items() if isinstance(law, Constant)}
        if self.config.start not in BOUND_STARTS:
            # A frozen tensor that moved would show in every replay; W_T's own was once a legal draw.
            start |= {name: target[name] for name in self._frozen if not isinstance(laws[name], Given)}
        return {name: tensor.to(target[name].dtype) for name, tensor in start.items()}

    def progress(self, step: int) -> float:
        """s(t) in [0, 1], the share of the way from W_0 to W_T; concave for an eased path."""
        share = step / self.steps
        return 1.0 - (1.0 - share) ** self.config.ease if self.config.path == "eased" else share

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name; exactly W_0 at step 0 and exactly W_T at step T'."""
        if step == 0:
            return {name: tensor.clone() for name, tensor in self.start.items()}
        if step == self.steps:
            return {name: self.end[name].clone() for name in self.start}
        if self.config.path == "noisy":
            return self._noisy(step)
        s = self.progress(step)
        return {name: torch.lerp(self.start[name], self.end[name], s) for name in self.start}

    def _noisy(self, step: int) -> dict[str, Tensor]:
        sigma = self.config.noise * (1.0 - step / self.steps) ** self.config.noise_decay
        rng = generator(self.seed, "noise on W_T", step)
        noisy = {}
        for name in self.start:
            end = self.end[name]
            if name in self._frozen:
                noisy[name] = end.clone()
                continue
            rms = end.square().mean().sqrt()
            noisy[name] = end + sigma * rms * torch.randn(end.shape, generator=rng).to(end.dtype)
        return noisy

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t with norm statistics on the straight way from fresh ones to W_T's, and no optimizer state."""
        s = step / self.steps
        buffers = {}
        for name, fresh in self._start_buffers.items():
            end = self._end_buffers[name]
            if torch.equal(fresh, end):
                buffers[name] = fresh.clone()  # a table, a mask, the statistics of a frozen norm layer
            elif is_inexact(fresh):
                buffers[name] = torch.lerp(fresh, end, s)
            else:  # a counter goes on as in the stolen training
                counted = (end.long() - fresh.long()) * step // self._honest_steps
                buffers[name] = (fresh.long() + counted).to(fresh.dtype)
        return Checkpoint(step=step, parameters=self.weights(step), buffers=buffers, optimizer_state={})


def reject_foreign(target: Checkpoint, model: nn.Module) -> None:
    """Raise the InputError for weights of another model: they come from a file, which may hold anything."""
    for kind, declared, stolen in (
        ("parameter", dict(model.named_parameters()), target.parameters),
        ("buffer", dict(model.named_buffers()), target.buffers),
    ):
        for name, tensor in declared.items():
            if name not in stolen or stolen[name].shape != tensor.shape:
                got = f"one of shape {tuple(stolen[name].shape)}" if name in stolen else "none"
                raise InputError(
                    f"the recorded model is not the declared one: expected a {kind} {name} of shape "
                    f"{tuple(tensor.shape)}, got {got}"
                )
