"""The law of every initial parameter, the verifier's test of it, and the adversary's closest legal W_0.

The test is the one-sample Kolmogorov-Smirnov test of Jia et al. 2021 (arXiv:2103.05633, V-A); the rank-matched W_0 is the
cheap legal start of Fang et al. 2023 (arXiv:2208.03567).
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from raypol.core.errors import InputError

SIGNIFICANCE: Final = 0.01
"""A tensor whose KS p-value is below this is rejected."""


@dataclass(frozen=True, slots=True)
class Normal:
    """N(0, std^2)."""

    std: float

    def __post_init__(self) -> None:
        _check_width("std", self.std)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform on [-bound, bound]."""

    bound: float

    def __post_init__(self) -> None:
        _check_width("bound", self.bound)


@dataclass(frozen=True, slots=True)
class Constant:
    """Every entry equals `value`."""

    value: float


Law = Normal | Uniform | Constant


def kaiming_normal(weight: Tensor) -> Normal:
    """He et al. 2015, fan-in, gain sqrt(2): torch's `kaiming_normal_` with its defaults."""
    return Normal(math.sqrt(2.0 / _fan_in(weight)))


def kaiming_normal_fan_out(weight: Tensor) -> Normal:
    """He et al. 2015, fan-out, gain sqrt(2): what torchvision's ResNet gives its convolutions."""
    return Normal(math.sqrt(2.0 / nn.init._calculate_fan_in_and_fan_out(weight)[1]))


def initial_laws(model: nn.Module) -> dict[str, Law]:
    """Law of every parameter, in the model's order: what the model declares, else torch's default for its module.

    Raises:
        InputError: parameters whose law is declared neither by the model nor by torch's defaults.
    """
    laws = dict(_default_laws(model))
    if hasattr(model, "initial_laws"):
        laws |= model.initial_laws()  # type: ignore[operator]
    names = [name for name, _ in model.named_parameters()]
    unknown = [name for name in names if name not in laws]
    if unknown:
        raise InputError(
            f"no initial law known for {', '.join(unknown)}: give the model a method initial_laws() that returns "
            "{parameter name: Normal(std) | Uniform(bound) | Constant(value)}"
        )
    return {name: laws[name] for name in names}


def ks_p_value(values: Tensor, law: Law) -> float:
    """p-value of the one-sample KS test of all entries against a random law; 0.0 if any entry is not finite."""
    from scipy import stats

    sample = values.detach().double().flatten().cpu().numpy()
    if not torch.isfinite(values).all():
        return 0.0
    match law:
        case Normal(std):
            return float(stats.kstest(sample, stats.norm(0.0, std).cdf).pvalue)
        case Uniform(bound):
            return float(stats.kstest(sample, stats.uniform(-bound, 2.0 * bound).cdf).pvalue)
        case Constant():
            raise ValueError("a constant has no Kolmogorov-Smirnov test; compare it")


def draw_initial(laws: Mapping[str, Law], shapes: Mapping[str, torch.Size], rng: torch.Generator) -> dict[str, Tensor]:
    """Honest W_0: float32 draws from the laws, each tensor redrawn until its own KS test passes.

    The verifier rejects if any of ~20 tensors has p < 0.01: without redrawing it would reject every fifth honest prover.
    """
    return {name: _draw(law, shapes[name], rng) for name, law in laws.items()}


def rank_matched(
    target: Mapping[str, Tensor], laws: Mapping[str, Law], rng: torch.Generator, *, keep_constants: bool = False
) -> dict[str, Tensor]:
    """The legal W_0 closest to W_T in every l_p: fresh draws, sorted, given to the positions in the order of W_T's entries.

    Args:
        target: W_T by name.
        laws: the declared law of each.
        rng: CPU generator.
        keep_constants: leave tensors with a constant law at W_T's values, as the published forger does; the published
            verifier never looks at them, a strict one does.
    """
    initial = {}
    for name, law in laws.items():
        goal = target[name].detach().cpu()
        drawn = _draw(law, goal.shape, rng)
        if isinstance(law, Constant):
            initial[name] = goal.clone() if keep_constants else drawn
            continue
        matched = torch.empty(goal.numel(), dtype=drawn.dtype)
        matched[goal.flatten().argsort()] = drawn.flatten().sort().values
        initial[name] = matched.reshape(goal.shape)
    return initial


def _draw(law: Law, shape: torch.Size, rng: torch.Generator) -> Tensor:
    if isinstance(law, Constant):
        return torch.full(shape, law.value)
    while True:
        match law:
            case Normal(std):
                values = torch.randn(shape, generator=rng) * std
            case Uniform(bound):
                values = (torch.rand(shape, generator=rng) * 2.0 - 1.0) * bound
        if ks_p_value(values, law) >= SIGNIFICANCE:
            return values


def _check_width(name: str, value: float) -> None:
    """A law without width passes no KS test: drawing from it until one passes would never end."""
    if not 0.0 < value < math.inf:
        raise InputError(f"expected {name} of an initial law > 0 and finite (or Constant(value)), got {value}")


def _fan_in(weight: Tensor) -> int:
    return nn.init._calculate_fan_in_and_fan_out(weight)[0]


def _default_laws(model: nn.Module) -> Iterator[tuple[str, Law]]:
    """Torch's own `reset_parameters`, and what torchvision's ResNet sets after it, as laws."""
    resnets = []
    for prefix, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if _is_torchvision_resnet(module):
            resnets.append(module)
        for name, law in _module_laws(module, own):
            if name in own:
                yield (f"{prefix}.{name}" if prefix else name), law
    convolutions = {id(m.weight) for net in resnets for m in net.modules() if isinstance(m, nn.Conv2d)}
    for name, parameter in model.named_parameters():
        if id(parameter) in convolutions:
            yield name, kaiming_normal_fan_out(parameter)


def _is_torchvision_resnet(module: nn.Module) -> bool:
    """True for torchvision's ResNet; only if there is one is its module imported already, which takes 1.7 s."""
    resnet = sys.modules.get("torchvision.models.resnet")
    return resnet is not None and isinstance(module, resnet.ResNet)


def _module_laws(module: nn.Module, own: Mapping[str, Tensor]) -> Iterator[tuple[str, Law]]:
    match module:
        case nn.Linear() | nn.Conv1d() | nn.Conv2d() | nn.Conv3d() | nn.ConvTranspose2d() | nn.ConvTranspose1d():
            # kaiming_uniform_ with a = sqrt(5) is uniform with bound 1/sqrt(fan_in); so is the bias.
            bound = 1.0 / math.sqrt(_fan_in(own["weight"]))
            yield "weight", Uniform(bound)
            yield "bias", Uniform(bound)
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d() | nn.GroupNorm() | nn.LayerNorm():
            yield "weight", Constant(1.0)
            yield "bias", Constant(0.0)
        case nn.Embedding():
            yield "weight", Normal(1.0)
        case nn.PReLU():
            yield "weight", Constant(0.25)
        case nn.RNNBase():
            for name in own:
                yield name, Uniform(1.0 / math.sqrt(module.hidden_size))
