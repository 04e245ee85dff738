"""What a model's constructor gives, compared with the laws it is taken to follow, before a proof is made of it.

W_0 is drawn from the laws, whatever the constructor did. A model with loaded weights, or with an initialisation of its own, would
silently be trained as another one if nobody compared the two.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from raypol.core.errors import InputError, first_names
from raypol.core.hashing import tensor_digest
from raypol.core.models.initial_laws import (
    Constant,
    Given,
    Law,
    Uniform,
    declared_laws,
    initial_laws,
    ks_p_value,
)

CONTRADICTION: Final = 1e-8
"""A tensor whose KS p-value is below this was not drawn from the law. This refuses at most one model in 100,000 that has 1,000
random tensors and follows their laws; the constructor's seed is fixed, so that it is always the same ones."""
_SAMPLE: Final = 10_000
"""Entries of a tensor that are tested, so that a large model costs little."""
_ROUNDING: Final = 1e-2
"""Share of a bound by which bfloat16 and its like may exceed it."""
_WAYS_OUT: Final = (
    "let its initial_laws() say what W_0 is: Given() = the constructor's values, Constant(value), or a random law"
)


def checked_laws(model: nn.Module, name: str) -> dict[str, Law]:
    """Initial laws of a model from which a proof is to be made.

    A law that the model declares is taken at its word. What torch's defaults say of the other parameters must be what the
    constructor gave them.

    Args:
        model: as its constructor left it.
        name: what the model is called, for messages.

    Raises:
        InputError: a parameter without a law, or frozen and without a declared one; one that the constructor gives values which
            contradict its law; one that is not of floating point.
    """
    others = [f"{n} ({p.dtype})" for n, p in model.named_parameters() if not p.is_floating_point()]
    if others:
        raise InputError(
            f"{name}: expected floating-point parameters, got {first_names(others)}; a complex one can be kept as two real ones "
            "(torch.view_as_real), an integer one as a buffer"
        )
    laws = initial_laws(model)
    assumed = laws.keys() - declared_laws(model).keys()
    frozen = [n for n, p in model.named_parameters() if n in assumed and not p.requires_grad]
    if frozen:
        raise InputError(
            f"{name}: {first_names(frozen)} would be drawn at random and stay so, for requires_grad is False: {_WAYS_OUT}"
        )
    found = {n: contradiction(p.detach(), laws[n]) for n, p in model.named_parameters() if n in assumed}
    wrong = [n for n in found if found[n]]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"{name}: W_0 of {wrong[0]} would be drawn from {laws[wrong[0]]}, but the constructor gives it other values, "
            f"{found[wrong[0]]}{more}: {_WAYS_OUT}"
        )
    return laws


def contradiction(values: Tensor, law: Law) -> str:
    """How the values contradict the law; empty if they may follow it."""
    if not values.numel() or isinstance(law, Given):
        return ""
    lowest, highest = float(values.min()), float(values.max())
    if isinstance(law, Constant):
        return "" if lowest == highest == law.value else f"{lowest:.4g} to {highest:.4g}"
    # float32 draws from a continuous law: 24 random bits do not come out equal, or 0.
    if lowest == highest and (values.numel() > 1 or lowest == 0.0):
        return f"{lowest:.4g} in every entry"
    if isinstance(law, Uniform) and max(-lowest, highest) > law.bound * (1.0 + _ROUNDING):
        return f"{lowest:.4g} to {highest:.4g}"
    some = values.flatten()
    if len(some) > _SAMPLE:
        rng = torch.Generator().manual_seed(0)
        some = some[torch.randint(len(some), (_SAMPLE,), generator=rng).unique()]  # type: ignore[no-untyped-call]  # torch's stubs
    if (p_value := ks_p_value(some, law)) >= CONTRADICTION:
        return ""
    return f"of standard deviation {float(some.std(correction=0)):.4g} (KS p = {p_value:.2g})"


def given_digests(laws: Mapping[str, Law], dtype: torch.dtype) -> dict[str, str]:
    """SHA-256, hex, of each given tensor in the precision in which it is recorded."""
    return {
        name: tensor_digest(law.values.to(dtype)).hex()
        for name, law in laws.items()
        if isinstance(law, Given) and law.values is not None
    }
