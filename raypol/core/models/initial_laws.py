"""The law of every initial parameter, and the verifier's test of it.

The test is the one-sample Kolmogorov-Smirnov test of Jia et al. 2021 (arXiv:2103.05633, V-A).
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from raypol.core.arithmetic.reproducible.draws import normal
from raypol.core.errors import InputError, first_names
from raypol.core.imports import own_code

SIGNIFICANCE: Final = 0.01
"""A tensor whose KS p-value is below this is rejected."""
MAX_DEVIATIONS: Final = 8.0
"""Of a normal law: one of 10^15 draws lies beyond."""
_ROUNDING: Final = 0.01
"""Of a bound in the weights' precision, half of it at most."""
_MAX_DRAWS: Final = 100
"""Draws of one tensor: if float32 can hold the law, so many fail their test with probability 1e-200."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Every entry is what the model's constructor gives it, such as pretrained weights: a proof declares its SHA-256."""

    values: Tensor | None = None
    """Filled in by `initial_laws`; leave it out."""


Law = Normal | Uniform | Constant | Given
RandomLaw = Normal | Uniform


def kaiming_normal(weight: Tensor) -> Normal:
    """He et al. 2015, fan-in, gain sqrt(2): torch's `kaiming_normal_` with its defaults."""
    return Normal(math.sqrt(2.0 / _fan_in(weight)))


def kaiming_normal_fan_out(weight: Tensor) -> Normal:
    """He et al. 2015, fan-out, gain sqrt(2): what torchvision's ResNet gives its convolutions."""
    return Normal(math.sqrt(2.0 / nn.init._calculate_fan_in_and_fan_out(weight)[1]))


def initial_laws(model: nn.Module) -> dict[str, Law]:
    """Law of every parameter, in the model's order: what the model declares, else torch's default for its module.

    Args:
        model: as its constructor left it, for that is where the values of `Given` come from.

    Raises:
        InputError: parameters whose law is declared neither by the model nor by torch's defaults, or a bad declaration.
    """
    laws = dict(_default_laws(model)) | declared_laws(model)
    unknown = [name for name, _ in model.named_parameters() if name not in laws]
    if unknown:
        raise InputError(
            f"no initial law known for {first_names(unknown)}: give the model a method initial_laws() that returns "
            "{parameter name: Normal(std) | Uniform(bound) | Constant(value) | Given()}"
        )
    return {
        name: Given(p.detach()) if isinstance(laws[name], Given) else laws[name] for name, p in model.named_parameters()
    }


def declared_laws(model: nn.Module) -> dict[str, Law]:
    """The laws that the model declares itself.

    Raises:
        InputError: what its `initial_laws` returns is no mapping from its parameters' names to laws.
    """
    if not hasattr(model, "initial_laws"):
        return {}
    with own_code("the model's initial_laws() failed"):
        declared: Any = model.initial_laws()  # type: ignore[operator]
    if not isinstance(declared, Mapping):
        raise InputError(f"expected a dict from the model's initial_laws(), got {type(declared).__name__}")
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, law in declared.items():
        if name not in names:
            raise InputError(f"the model's initial_laws() names {name!r}, which is none of its parameters")
        if not isinstance(law, Law):
            raise InputError(
                f"expected a law such as Normal(0.02) for {name} from the model's initial_laws(), got {law!r}"
            )
    return dict(declared)


def ks_p_value(values: Tensor, law: Law) -> float:
    """p-value of the one-sample KS test of all entries against a random law; 0.0 if any entry is not finite, 1.0 without any."""
    from scipy import stats

    if not values.numel():
        return 1.0
    sample = values.detach().double().flatten().cpu().numpy()
    if not torch.isfinite(values).all():
        return 0.0
    match law:
        case Normal(std):
            return float(stats.kstest(sample, stats.norm(0.0, std).cdf).pvalue)
        case Uniform(bound):
            return float(stats.kstest(sample, stats.uniform(-bound, 2.0 * bound).cdf).pvalue)
        case Constant() | Given():
            raise ValueError(f"{type(law).__name__} has no Kolmogorov-Smirnov test; compare the values")


def num_impossible(values: Tensor, law: Law) -> int:
    """Entries that a random law does not give: outside its bounds, or far out in its tails, which the KS test hardly sees."""
    match law:
        case Normal(std):
            limit = MAX_DEVIATIONS * std
        case Uniform(bound):
            limit = bound * (1.0 + _ROUNDING)
        case Constant() | Given():
            return 0
    return int((~(values.detach().double().abs() <= limit)).sum())


def draw_initial(
    laws: Mapping[str, Law], shapes: Mapping[str, torch.Size], rng: torch.Generator, *, anywhere: bool = False
) -> dict[str, Tensor]:
    """Honest W_0: float32 draws from the laws, each tensor redrawn until its own KS test passes; given tensors as they are.

    `anywhere` draws normal numbers that are the same on any machine; torch's own, of all older proofs, depend on the processor.

    The verifier rejects if any of ~20 tensors has p < 0.01: without redrawing it would reject every fifth honest prover.

    Raises:
        InputError: no draw from a law passes, for float32 cannot hold its values.
    """
    return {name: draw(name, law, shapes[name], rng, anywhere=anywhere) for name, law in laws.items()}


def draw(name: str, law: Law, shape: torch.Size, rng: torch.Generator, *, anywhere: bool = False) -> Tensor:
    """One tensor's honest draw, see `draw_initial`."""
    if isinstance(law, Constant):
        return torch.full(shape, law.value)
    if isinstance(law, Given):
        assert law.values is not None, "initial_laws fills them in"
        return law.values.clone()
    for _ in range(_MAX_DRAWS):
        match law:
            case Normal(std):
                values = (normal(shape, rng) if anywhere else torch.randn(shape, generator=rng)) * std
            case Uniform(bound):
                values = (torch.rand(shape, generator=rng) * 2.0 - 1.0) * bound
        if ks_p_value(values, law) >= SIGNIFICANCE:
            return values
    raise InputError(
        f"none of {_MAX_DRAWS} draws of {name} from {law} passes the test against that law: float32 cannot hold its values"
    )


def _check_width(name: str, value: float) -> None:
    """A law without width passes no KS test."""
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
            # kaiming_uniform_ with a = sqrt(5) is uniform with bound 1/sqrt(fan_in); so is the bias. A parametrised module
            # (weight_norm, spectral_norm) has other tensors in place of its weight, and only its author knows their laws.
            if "weight" in own:
                fan_in = _fan_in(own["weight"])
                law = Uniform(1.0 / math.sqrt(fan_in)) if fan_in else Constant(0.0)
                yield "weight", law
                yield "bias", law
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d() | nn.GroupNorm() | nn.LayerNorm():
            yield "weight", Constant(1.0)
            yield "bias", Constant(0.0)
        case nn.Embedding(padding_idx=None):  # else one row is 0
            yield "weight", Normal(1.0)
        case nn.PReLU():
            yield "weight", Constant(0.25)
        case nn.RNNBase():
            for name in own:
                yield name, Uniform(1.0 / math.sqrt(module.hidden_size))
