"""Operations in reproducible arithmetic against torch in float64, and those that it refuses."""

import copy
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raypol.core.arithmetic.precision import arithmetic
from raypol.core.arithmetic.reproducible.draws import normal
from raypol.core.arithmetic.reproducible.exponentials import exp, log
from raypol.core.arithmetic.reproducible.rounded import square_root
from raypol.core.arithmetic.reproducible.self_test import check_arithmetic
from raypol.core.errors import InputError
from raypol.core.models import MODELS, build_model

CPU = torch.device("cpu")


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, gradients by input and parameters of a fixed weighting of the output, and buffers."""
    own = x.clone().requires_grad_()
    output = model(own)
    weights = [((i * 37) % 19 - 9) / 10 for i in range(output.numel())]
    (output * torch.tensor(weights, dtype=x.dtype).view(output.shape)).sum().backward()
    found = [output.detach(), own.grad, *(p.grad for p in model.parameters())]
    return [one for one in found if one is not None] + [b for b in model.buffers() if b.is_floating_point()]


def assert_like_float64(model: nn.Module, x: Tensor, relative: float) -> None:
    exact = gradients(copy.deepcopy(model).double(), x.double())
    with arithmetic("reproducible", CPU):
        found = gradients(model, x)
    assert len(found) == len(exact)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert float((one.double() - other).norm()) <= relative * float(other.norm()) + 1e-30


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (5, 3, 9, 7)),
    "stride, dilation, groups": (lambda: nn.Conv2d(4, 8, 3, 2, padding=2, dilation=2, groups=2), (5, 4, 11, 13)),
    "padding beyond the kernel": (lambda: nn.Conv2d(4, 8, 1, 2, padding=1), (5, 4, 6, 5)),
    "7 by 7, stride 2": (lambda: nn.Conv2d(3, 8, 7, 2, padding=3), (2, 3, 32, 32)),
    "places that no window has": (lambda: nn.Conv2d(3, 8, 2, 3), (2, 3, 10, 10)),
    "one place": (lambda: nn.Conv2d(1, 1, 1), (1, 1, 1, 1)),
    "one dimension": (lambda: nn.Conv1d(3, 4, 5, padding=2), (5, 3, 9)),
    "three dimensions": (lambda: nn.Conv3d(2, 4, 3, (1, 2, 1), padding=1), (3, 2, 5, 6, 7)),
    "each channel by itself": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6), (3, 6, 5, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2), (3, 4, 5, 6)),
    "transposed, dilated": (lambda: nn.ConvTranspose2d(4, 6, 3, dilation=2), (3, 4, 5, 6)),
    "linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "linear on sequences": (lambda: nn.Linear(5, 3), (4, 2, 5)),
    "batch norm": (lambda: nn.BatchNorm2d(4), (8, 4, 5, 6)),
    "batch norm of vectors": (lambda: nn.BatchNorm1d(4), (8, 4)),
    "batch norm in evaluation": (lambda: nn.BatchNorm2d(4).eval(), (8, 4, 5, 6)),
    "batch norm without statistics": (lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False), (8, 4, 5, 6)),
    "batch norm, cumulative": (lambda: nn.BatchNorm2d(4, momentum=None), (8, 4, 5, 6)),
    "max pool, overlapping": (lambda: nn.MaxPool2d(3, 2, 1), (2, 3, 9, 9)),
    "max pool, ceil_mode": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), (2, 3, 8, 8)),
    "max pool, dilated": (lambda: nn.MaxPool2d(2, 1, dilation=2), (2, 3, 8, 8)),
    "average pool": (lambda: nn.AvgPool2d(3, 2, 1), (2, 3, 9, 8)),
    "adaptive average pool": (lambda: nn.AdaptiveAvgPool2d(3), (2, 3, 8, 7)),
    "PReLU": (lambda: nn.PReLU(), (2, 3, 8, 7)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_and_its_gradients_are_those_of_float64(name: str) -> None:
    make, shape = LAYERS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = make()
    assert_like_float64(layer, drawn(*shape), 2e-6)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "mean": lambda x: x.mean((0, 2)),
    "sum": lambda x: x.sum(),
    "powers": lambda x: x**2 + x**3,
    "quotients": lambda x: x / 3 + 1.0 / (x * x + 1.0),
    "hardtanh": F.hardtanh,
    "matrix products": lambda x: x @ x.transpose(-1, -2),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "exp and log": lambda x: torch.exp(x) + (x * x + 1.0).log(),
    "rsqrt": lambda x: (x * x + 1.0).rsqrt(),
    "leaky relu": F.leaky_relu,
    "padding and slices": lambda x: F.pad(x, (1, 1))[:, ::2, 1:],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_and_its_gradient_are_those_of_float64(name: str) -> None:
    assert_like_float64(Function(FUNCTIONS[name]), drawn(3, 4, 5, 6), 1e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet50"])
def test_every_built_in_model_makes_a_step(name: str) -> None:
    shape = {"simple_conv": (2, 1, 28, 28), "resnet8": (2, 1, 8, 8), "resnet18": (2, 3, 64, 64)}.get(
        name, (2, 3, 16, 16)
    )
    model = build_model(name, in_channels=shape[1], num_classes=10)
    assert_like_float64(
        model, drawn(*shape), 0.1 if "50" in name else 1e-3
    )  # 50 layers amplify 1e-7 at 16 by 16 pixels


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_that_of_float64(reduction: str, weighted: bool) -> None:
    x, y = drawn(7, 5) * 30.0, torch.tensor([0, 4, 2, -100, 1, 2, 3])
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25]) if weighted else None

    def loss(logits: Tensor) -> Tensor:
        own = None if weight is None else weight.to(logits.dtype)
        return F.cross_entropy(logits, y, own, reduction=reduction)

    assert_like_float64(Function(loss), x, 1e-6)


def test_a_double_backward_is_that_of_float64() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(27, 3))

    def second(own: nn.Module, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        loss = F.cross_entropy(own(x), torch.tensor([0, 1, 2, 0]))
        first = torch.autograd.grad(loss, list(own.parameters()), create_graph=True)
        return torch.autograd.grad(torch.stack([(g * g).sum() for g in first]).sum(), x)[0]

    exact = second(copy.deepcopy(model).double(), drawn(4, 2, 6, 6).double())
    x = drawn(4, 2, 6, 6)
    with arithmetic("reproducible", CPU):
        found = second(model, x)
    assert float((found.double() - exact).norm() / exact.norm()) < 1e-4


# --- single operations -----------------------------------------------------------------------------------------------


def test_no_product_is_fused_with_a_sum() -> None:
    """With x = -(a * b) rounded, separate operations give 0, a fused one the rounding error of the product."""
    a = drawn(4096)
    x = -(a * 0.1)
    with arithmetic("reproducible", CPU):
        results: Sequence[Tensor] = (
            torch.add(x, a, alpha=0.1),
            x.clone().add_(a, alpha=0.1),
            torch.sub(-x, a, alpha=0.1),
            torch.addcmul(x, a, torch.full_like(a, 0.1)),
            x.clone().addcmul_(a, torch.ones_like(a), value=0.1),
            x.clone().addcdiv_(a, torch.ones_like(a), value=0.1),
            torch.zeros_like(a).lerp(a, 0.1) + x,
        )
    assert [float(one.abs().max()) for one in results] == [0.0] * len(results)


def test_a_quotient_by_a_number_is_rounded_once() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    right = torch.tensor([float(i) for i in range(256)], dtype=torch.float64).div(255.0).float()
    with arithmetic("reproducible", CPU):
        assert torch.equal(pixels.float().div_(255.0), right)
        assert torch.equal(pixels.float() / torch.tensor(255.0), right)


def test_a_chosen_zero_has_the_sign_plus() -> None:
    zeros = torch.tensor([-0.0, 0.0, -1.0] * 11)
    with arithmetic("reproducible", CPU):
        for found in (F.relu(zeros), F.relu_(zeros.clone()), zeros.clamp(min=0.0), torch.maximum(zeros, -zeros * 0.0)):
            assert not torch.signbit(found).any()


def test_a_root_is_correctly_rounded_whatever_the_library_does() -> None:
    """The bounds of the numbers that round to a root, squared, enclose its argument: in whole numbers."""
    whole = torch.randint(1 << 23, 1 << 25, (20_000,), generator=torch.Generator().manual_seed(0)).float()
    with arithmetic("reproducible", CPU):
        roots = whole.sqrt()
        assert torch.equal(roots, whole**0.5)
        assert torch.equal((whole * whole).sqrt().double(), (whole * whole).double().sqrt().float().double())
    for x, root in zip(whole.long().tolist(), roots.double().tolist(), strict=True):
        assert 2**11 <= root < 2**13
        ulp = 2 ** (-12 if root < 2**12 else -11)
        low, high = (int((root + half * ulp / 2) * 2**13) for half in (-1, 1))
        assert low**2 <= x * 2**26 <= high**2
    ends = torch.tensor([0.0, -0.0, math.inf, 4.0], dtype=torch.float64)
    assert square_root(ends).tolist() == square_root(ends.float()).tolist() == [0.0, 0.0, math.inf, 2.0]
    assert square_root(torch.tensor([-1.0])).isnan().all()
    wide = torch.arange(1, 1000, dtype=torch.float64) / 7.0
    assert float((square_root(wide) / wide.sqrt() - 1.0).abs().max()) < 1e-15


def test_exp_and_log_are_those_of_torch_within_a_few_last_places() -> None:
    x = torch.arange(-10_000, 7_000, dtype=torch.float64) / 10.0 + 0.037
    x = x[(x > -700.0) & (x < 700.0)]
    assert float(((exp(x) - x.exp()) / x.exp()).abs().max()) < 1e-14
    positive = torch.cat([x.exp(), 1.0 + torch.arange(-99, 99).double() / 1e4])
    assert float(((log(positive) - positive.log()).abs() / positive.log().abs().clamp_min(1e-2)).max()) < 1e-14


def test_exp_and_log_at_the_ends() -> None:
    ends = torch.tensor([0.0, math.inf, -math.inf, math.nan, 800.0, -800.0], dtype=torch.float64)
    assert exp(ends).nan_to_num(-1.0, posinf=-2.0).tolist() == [1.0, -2.0, 0.0, -1.0, -2.0, 0.0]
    ends = torch.tensor([1.0, 0.0, math.inf, math.nan, -2.0], dtype=torch.float64)
    assert log(ends).nan_to_num(-1.0, posinf=-2.0, neginf=-3.0).tolist() == [0.0, -3.0, -2.0, -1.0, -1.0]


def test_normal_draws_follow_their_law() -> None:
    from scipy import stats

    sample = normal(torch.Size([200, 100]), torch.Generator().manual_seed(1))
    assert sample.dtype == torch.float32
    assert stats.kstest(sample.flatten().numpy(), "norm").pvalue > 0.01
    assert torch.equal(sample, normal(torch.Size([200, 100]), torch.Generator().manual_seed(1)))
    assert normal(torch.Size([0, 3]), torch.Generator()).shape == (0, 3)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("aten.gelu", F.gelu),
        ("aten.native_layer_norm", lambda x: F.layer_norm(x, (6,))),
        ("aten.native_group_norm", lambda x: F.group_norm(x, 2)),
        ("aten.cumsum", lambda x: x.cumsum(1)),
        ("no index_put but of masks", lambda x: x[:, torch.tensor([0, 0, 1])]),  # its gradient adds in any order
        ("aten.normal_", lambda x: x + torch.empty_like(x).normal_()),
        ("power 1.5", lambda x: x.abs() ** 1.5),
        ("got float16 in _to_copy", lambda x: x.half().float()),
        ("sums float32 numbers, got float64", lambda x: x.double().sum()),
        ("sums float32 numbers, got float64", lambda x: x.double() @ x.double().transpose(2, 3)),
        ("division with rounding_mode floor", lambda x: torch.div(x, 3.0, rounding_mode="floor")),
        ("avg_pool2d with ceil_mode", lambda x: F.avg_pool2d(x, 2, ceil_mode=True)),
    ],
)
def test_what_has_no_reproducible_form_is_refused_in_one_line(name: str, function: Callable[[Tensor], Tensor]) -> None:
    x = drawn(3, 4, 5, 6).requires_grad_()
    with pytest.raises(InputError, match=name) as caught, arithmetic("reproducible", CPU):
        function(x).sum().backward()  # type: ignore[no-untyped-call]
    assert "\n" not in str(caught.value)
    assert torch.equal(x.detach().sum().double().float(), x.detach().sum())  # and outside all is as before


def test_arithmetic_ends_with_its_context_and_within_itself_changes_nothing() -> None:
    a, b = drawn(40, 300), drawn(300, 40)
    with arithmetic("reproducible", CPU):
        once = a @ b
        with arithmetic("reproducible", CPU):
            twice = a @ b
        after = a @ b
    assert torch.equal(once, twice)
    assert torch.equal(once, after)
    assert F.gelu(a).shape == a.shape


def test_a_device_that_flushes_denormals_is_refused() -> None:
    check_arithmetic.cache_clear()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        with pytest.raises(InputError, match="cannot compute reproducibly: denormals"):
            check_arithmetic(CPU)
    finally:
        torch.set_flush_denormal(False)
    check_arithmetic(CPU)
