"""How each operation of torch is computed in reproducible arithmetic; one that is not named here is refused.

Operations are named without their overload: `aten.add` stands for aten.add.Tensor and aten.add.Scalar.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible import contractions, elementwise, exponentials, normalisation, pooling
from raypol.core.arithmetic.reproducible.contractions import Convolution
from raypol.core.arithmetic.reproducible.draws import fill_with_kept
from raypol.core.arithmetic.reproducible.fixed_point import exact_sum
from raypol.core.arithmetic.reproducible.rounded import square_root, to_float32
from raypol.core.errors import InputError

_PASSING: Final = """
    _local_scalar_dense _prelu_kernel _prelu_kernel_backward _reshape_alias _to_copy _unsafe_view abs alias all any
    argmax argmin as_strided cat ceil clone constant_pad_nd copy copy_ detach diagonal empty empty_like empty_strided eq
    equal expand fill fill_ flip floor full full_like gather ge gt hardtanh_backward index index_select is_nonzero
    isfinite isinf isnan item le leaky_relu leaky_relu_backward lift_fresh lt masked_fill masked_fill_
    max_pool2d_with_indices mul mul_ ne neg neg_ new_empty new_empty_strided new_full new_ones new_zeros ones ones_like
    permute repeat resize_ roll scalar_tensor select select_backward set_ sgn sign signbit slice slice_backward split
    split_with_sizes squeeze squeeze_ stack t t_ threshold_backward transpose transpose_ tril triu trunc
    unbind unsqueeze unsqueeze_ view where zero_ zeros zeros_like
"""
PASSING: Final = frozenset(_PASSING.split())
"""Copy, choose or compare bits, or are one correctly rounded operation: computed by torch itself."""
CHOOSING: Final = frozenset(
    (
        "clamp",
        "clamp_min",
        "clamp_max",
        "clamp_",
        "clamp_min_",
        "clamp_max_",
        "maximum",
        "minimum",
        "hardtanh",
        "amax",
        "amin",
    )
)
"""Choose among numbers, but of two zeros either one: it becomes +."""


def _dims(x: Tensor, dims: Sequence[int] | int | None) -> list[int]:
    if dims is None or dims == []:
        return list(range(x.dim()))
    return [dim % x.dim() for dim in ([dims] if isinstance(dims, int) else dims)] if x.dim() else []


def _float32(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise InputError(f"reproducible arithmetic sums float32 numbers, got {str(x.dtype).removeprefix('torch.')}")
    return x


def _sum(x: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    if not x.is_floating_point() and dtype is None:
        return torch.sum(x, _dims(x, dims), keepdim)
    _only(dtype in (None, torch.float32), "a sum in another format")
    return to_float32(exact_sum(_float32(x), _dims(x, dims), keepdim=keepdim)) if x.dim() else x.clone()


def _mean(x: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    _only(dtype in (None, torch.float32), "a mean in another format")
    return pooling.exact_mean(_float32(x), _dims(x, dims), keepdim=keepdim) if x.dim() else x.clone()


def _only(possible: bool, what: str) -> None:
    if not possible:
        raise InputError(f"reproducible arithmetic has no {what}")


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = _mm(a, b)
    product = product if alpha == 1 else product * alpha
    return product.add_(bias if beta == 1 else bias * beta)


def _mm(a: Tensor, b: Tensor) -> Tensor:
    return contractions.matmul(_float32(a), _float32(b))


def _mv(a: Tensor, b: Tensor) -> Tensor:
    return _mm(a, b.unsqueeze(-1)).squeeze(-1)


def _declared(
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Convolution:
    num = weight.dim() - 2
    spread = [
        tuple(numbers) * (num if len(numbers) == 1 else 1) for numbers in (stride, padding, dilation, output_padding)
    ]
    return Convolution(spread[0], spread[1], spread[2], transposed, spread[3], groups)


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:  # noqa: ANN401 - as torch gives them
    return contractions.convolution(_float32(x), _float32(weight), bias, _declared(weight, *how))


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    *how: Any,  # noqa: ANN401 - as torch gives them
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    del bias_sizes
    return contractions.convolution_backward(_float32(grad), _float32(x), weight, _declared(weight, *how[:-1]), how[-1])


def _batch_norm(x: Tensor, *how: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - as torch gives them
    return normalisation.batch_norm(_float32(x), *how)


def _pooled(x: Tensor, size: Sequence[int]) -> Tensor:
    return pooling.adaptive_avg_pool(_float32(x), size)


def _avg_pool2d(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Tensor:
    plain = not ceil_mode and (count_include_pad or not any(padding)) and divisor is None and x.dim() == 4
    _only(plain, "avg_pool2d with ceil_mode, a divisor of its own, or padding that does not count")
    return pooling.avg_pool2d(_float32(x), kernel, stride, padding)


def _avg_pool2d_backward(
    grad: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], *_: object
) -> Tensor:
    return pooling.avg_pool2d_backward(grad, x, kernel, stride, padding)


def _max_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    del ceil_mode
    return pooling.max_pool2d_backward(grad, x, kernel, stride, padding, dilation, indices)


def _log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    del half_to_float
    return exponentials.log_softmax(_float32(x), dim)


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    del half_to_float
    return exponentials.softmax(_float32(x), dim)


def _log_softmax_backward(grad: Tensor, output: Tensor, dim: int, dtype: object) -> Tensor:
    del dtype
    return exponentials.log_softmax_backward(grad, output, dim)


def _softmax_backward(grad: Tensor, output: Tensor, dim: int, dtype: object) -> Tensor:
    del dtype
    return exponentials.softmax_backward(grad, output, dim)


def _bernoulli(x: Tensor, p: float = 0.5, *, generator: object = None) -> Tensor:
    _only(generator is None, "draws from a generator of the model's own")
    return fill_with_kept(x, p)


def _index_put_(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    masks = all(index is None or index.dtype == torch.bool for index in indices)
    _only(masks and not accumulate, "index_put but of masks: places that are named twice have no order")
    return torch.ops.aten.index_put_(x, indices, values)  # type: ignore[no-any-return]


def _index_put(x: Tensor, *how: Any) -> Tensor:  # noqa: ANN401 - as torch gives them
    return _index_put_(x.clone(), *how)


def _div(x: Tensor, other: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    _only(rounding_mode is None, f"division with rounding_mode {rounding_mode}")
    return elementwise.div(x, other)


COMPUTED: Final[dict[str, Callable[..., Any]]] = {
    "_adaptive_avg_pool2d": _pooled,
    "_adaptive_avg_pool2d_backward": pooling.adaptive_avg_pool_backward,
    "_log_softmax": _log_softmax,
    "_log_softmax_backward_data": _log_softmax_backward,
    "_softmax": _softmax,
    "_softmax_backward_data": _softmax_backward,
    "add": elementwise.plus,
    "add_": elementwise.plus_,
    "addcdiv": elementwise.addcdiv,
    "addcdiv_": elementwise.addcdiv_,
    "addcmul": elementwise.addcmul,
    "addcmul_": elementwise.addcmul_,
    "addmm": _addmm,
    "avg_pool2d": _avg_pool2d,
    "avg_pool2d_backward": _avg_pool2d_backward,
    "bernoulli_": _bernoulli,
    "bmm": _mm,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "div": _div,
    "div_": elementwise.div_,
    "exp": elementwise.exp32,
    "index_put": _index_put,
    "index_put_": _index_put_,
    "lerp": elementwise.lerp,
    "lerp_": elementwise.lerp_,
    "log": elementwise.log32,
    "max_pool2d_with_indices_backward": _max_pool2d_backward,
    "mean": _mean,
    "mm": _mm,
    "mv": _mv,
    "native_batch_norm": _batch_norm,
    "native_batch_norm_backward": normalisation.batch_norm_backward,
    "native_dropout": elementwise.dropout,
    "native_dropout_backward": elementwise.dropout_backward,
    "nll_loss_backward": exponentials.nll_loss_backward,
    "nll_loss_forward": exponentials.nll_loss,
    "pow": elementwise.power,
    "reciprocal": elementwise.reciprocal,
    "relu": elementwise.relu,
    "relu_": elementwise.relu_,
    "rsqrt": elementwise.rsqrt,
    "rsub": elementwise.rsub,
    "sigmoid": elementwise.sigmoid,
    "sigmoid_backward": elementwise.sigmoid_backward,
    "sqrt": square_root,
    "sqrt_": elementwise.sqrt_,
    "sub": elementwise.sub,
    "sub_": elementwise.sub_,
    "sum": _sum,
    "tanh": elementwise.tanh,
    "tanh_backward": elementwise.tanh_backward,
}
"""Functions of this package, by operation."""
