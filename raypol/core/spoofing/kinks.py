"""Where a model bends: which side of zero each activation is on, recorded in one pass and held in another.

A network of rectifiers is smooth only as long as no activation changes sides. Second derivatives by autograd leave those changes
out; a difference of two passes has them in it, unless the second pass keeps the sides of the first. `Kinks` is a torch function
mode that does both: entered to record, it notes the sides; entered to hold, it computes with the noted ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_SMOOTH: Final = frozenset(
    """
    __get__ __add__ __radd__ __iadd__ add add_ __sub__ __rsub__ sub __mul__ __rmul__ mul __truediv__ div __neg__ __pow__ pow
    __matmul__ matmul bmm mm addmm baddbmm einsum linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    batch_norm group_norm layer_norm instance_norm rms_norm local_response_norm
    gelu silu tanh sigmoid softmax log_softmax softplus elu celu selu mish exp log sqrt rsqrt cross_entropy nll_loss
    scaled_dot_product_attention multi_head_attention_forward embedding
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum var
    dropout dropout1d dropout2d feature_dropout alpha_dropout bernoulli
    flatten unflatten reshape view view_as expand permute transpose squeeze unsqueeze contiguous clone cat stack chunk split
    narrow select index_select gather pad __getitem__ __len__ size dim numel to float double type_as detach requires_grad_
    is_floating_point unbind movedim t flip roll repeat tile new_zeros zeros_like ones_like rand empty_like is_contiguous
    """.split()  # noqa: SIM905 - a hundred names
)
"""Functions of torch without kinks in their inputs, or that look at shapes alone, by name."""


class Kinks(TorchFunctionMode):
    """The sides of all rectifiers and the places of all maxima of one forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Tensor] = []
        """One tensor of factors or indices per call, in order."""
        self.unknown = ""
        """A function that was called and of which it is not known whether it is smooth; empty = there was none."""
        self.holds = False
        """True: compute with what is noted; False: note."""
        self._place = 0

    def holding(self) -> "Kinks":
        """The same notes, to be computed with from the first on."""
        self.holds, self._place = True, 0
        return self

    @property
    def nbytes(self) -> int:
        """Memory of the notes."""
        return sum(note.nbytes for note in self.noted)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's
        del types
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _RECTIFIERS:
            return self._rectify(func, name, args, kwargs)
        if name == "max_pool2d" and not kwargs.get("return_indices", False):
            return self._maximum(args, kwargs)
        if name not in _SMOOTH and not self.unknown:
            self.unknown = name or repr(func)
        return func(*args, **kwargs)

    def _rectify(self, func: Callable[..., Any], name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        if not self.holds:
            slope = _slope(name, args, kwargs)
            side = (args[0] if args else kwargs["input"]).detach()
            # Multiplying by a factor is several times faster than choosing by a mask.
            positive = side.clamp(min=0.0).sign_()
            self.noted.append(slope + (1.0 - slope) * positive if slope else positive)
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        in_place = name.endswith("_") or kwargs.get("inplace", False)
        return x.mul_(self._next()) if in_place else x * self._next()

    def _maximum(self, args: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        if not self.holds:
            out, where = F.max_pool2d_with_indices(*args, **{**kwargs, "return_indices": True})
            self.noted.append(where)
            return out
        x, where = args[0] if args else kwargs["input"], self._next()
        found = x.flatten(-2).gather(-1, where.flatten(-2)).view(where.shape)
        # A later dropout draws in the order of the memory.
        is_last = where.ndim == 4 and where.is_contiguous(memory_format=torch.channels_last)
        return found.contiguous(memory_format=torch.channels_last) if is_last else found

    def _next(self) -> Tensor:
        note = self.noted[self._place]
        self._place += 1
        return note


def _slope(name: str, args: Any, kwargs: Mapping[str, Any]) -> float:  # noqa: ANN401
    """Of a rectifier below zero."""
    if not name.startswith("leaky"):
        return 0.0
    return float(args[1] if len(args) > 1 else kwargs.get("negative_slope", 0.01))


_RECTIFIERS: Final = frozenset(("relu", "relu_", "leaky_relu", "leaky_relu_"))
