"""The verifier's test of W_0, torch's own laws, and the adversary's closest legal start."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.models.initial_laws import (
    SIGNIFICANCE,
    Constant,
    Given,
    Law,
    Normal,
    Uniform,
    draw_initial,
    initial_laws,
    kaiming_normal,
    kaiming_normal_fan_out,
    ks_p_value,
)
from raypol.core.models.legal_starts import rank_matched
from tests.toys import Unlawful


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=rng(seed))


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, generator=rng(seed)) * 2.0 - 1.0


# --- the test itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [Normal(0.3), Uniform(0.3)], ids=["normal", "uniform"])
def test_p_value_is_that_of_the_definition(law: Law) -> None:
    values = 0.3 * (normal(500) if isinstance(law, Normal) else uniform(500))
    ordered = values.double().sort().values
    cdf = (1 + torch.erf(ordered / 0.3 / math.sqrt(2))) / 2 if isinstance(law, Normal) else (ordered + 0.3) / 0.6
    steps = torch.arange(501, dtype=torch.float64) / 500
    largest_gap = float(torch.maximum((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()))
    assert ks_p_value(values, law) == pytest.approx(float(stats.kstwo.sf(largest_gap, 500)), rel=1e-9)


@pytest.mark.parametrize("n", [20, 1000])
def test_lawful_draws_are_rejected_as_rarely_as_the_significance_says(n: int) -> None:
    rejected = sum(ks_p_value(0.1 * normal(n, seed), Normal(0.1)) < SIGNIFICANCE for seed in range(300))
    assert rejected <= 10  # Binomial(300, 0.01): more than 10 has probability 3e-4


@pytest.mark.parametrize(
    ("law", "values"),
    [
        (Normal(1.0), 1.2 * normal(2000)),
        (Normal(1.0), 0.8 * normal(2000)),
        (Normal(1.0), normal(2000) + 0.1),
        (Normal(1.0), math.sqrt(3.0) * uniform(2000)),  # the right variance, the wrong law
        (Uniform(1.0), normal(2000) / math.sqrt(3.0)),
        (Uniform(1.0), 1.1 * uniform(2000)),
        (Uniform(1.0), uniform(2000).abs()),
        (Normal(1.0), torch.zeros(2000)),
        (Normal(1.0), normal(20).repeat(100)),  # few values, often
        (Uniform(1.0), torch.cat([uniform(1000), torch.full((1000,), 5.0)])),
    ],
    ids=["wide", "narrow", "shifted", "uniform", "normal", "bound", "one-sided", "zeros", "repeated", "outliers"],
)
def test_a_wrong_law_is_rejected(law: Law, values: Tensor) -> None:
    assert ks_p_value(values, law) < SIGNIFICANCE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_non_finite_entry_is_rejected(value: float) -> None:
    values = normal(2000)
    values[77] = value
    assert ks_p_value(values, Normal(1.0)) == 0.0


@pytest.mark.parametrize("law", [Constant(1.0), Given()], ids=["constant", "given"])
def test_a_law_that_draws_nothing_has_no_ks_test(law: Law) -> None:
    with pytest.raises(ValueError, match="compare the values"):
        ks_p_value(torch.ones(3), law)


@pytest.mark.parametrize("law", [Normal(1.0), Uniform(1.0)], ids=["normal", "uniform"])
@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0, 2)], ids=str)
def test_a_tensor_without_entries_passes_and_is_drawn_at_once(law: Law, shape: tuple[int, ...]) -> None:
    assert ks_p_value(torch.empty(shape), law) == 1.0
    assert draw_initial({"w": law}, {"w": torch.Size(shape)}, rng())["w"].shape == shape
    assert rank_matched({"w": torch.empty(shape)}, {"w": law}, rng())["w"].shape == shape


@pytest.mark.parametrize("law", [Normal(1e-50), Normal(1e39), Uniform(1e-46), Uniform(1e300)], ids=str)
def test_a_law_that_float32_cannot_hold_is_an_error_that_names_the_tensor(law: Law) -> None:
    said = r"none of 100 draws of body\.w from .*float32 cannot hold"
    with pytest.raises(InputError, match=said):
        draw_initial({"body.w": law}, {"body.w": torch.Size([20])}, rng())
    with pytest.raises(InputError, match=said):
        rank_matched({"body.w": torch.zeros(20)}, {"body.w": law}, rng())


def test_one_entry_is_drawn_as_often_as_it_takes() -> None:
    drawn = [draw_initial({"w": Normal(1.0)}, {"w": torch.Size([1])}, rng(seed))["w"] for seed in range(300)]
    assert all(ks_p_value(one, Normal(1.0)) >= SIGNIFICANCE for one in drawn)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("law", [Normal, Uniform])
def test_a_law_without_width_is_an_error_not_an_endless_search(law: Callable[[float], Law], width: float) -> None:
    with pytest.raises(InputError, match="expected"):
        law(width)


# --- torch's own laws ------------------------------------------------------------------------------------------------

TORCH_MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(37, 23),
    "conv1d": lambda: nn.Conv1d(5, 7, 3),
    "conv2d": lambda: nn.Conv2d(5, 7, 3),
    "conv2d grouped": lambda: nn.Conv2d(6, 9, 3, groups=3),
    "conv3d": lambda: nn.Conv3d(2, 5, 2),
    "conv_transpose1d": lambda: nn.ConvTranspose1d(5, 7, 3),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(5, 7, 3),
    "conv_transpose2d grouped": lambda: nn.ConvTranspose2d(6, 9, 3, groups=3),
    "batch_norm1d": lambda: nn.BatchNorm1d(7),
    "batch_norm2d": lambda: nn.BatchNorm2d(7),
    "batch_norm3d": lambda: nn.BatchNorm3d(7),
    "group_norm": lambda: nn.GroupNorm(2, 8),
    "layer_norm": lambda: nn.LayerNorm(9),
    "embedding": lambda: nn.Embedding(11, 5),
    "prelu": lambda: nn.PReLU(4),
    "gru": lambda: nn.GRU(4, 6, num_layers=2),
    "lstm": lambda: nn.LSTM(4, 6, bidirectional=True),
    "lstm projected": lambda: nn.LSTM(4, 6, proj_size=3),
}


@pytest.mark.parametrize("name", TORCH_MODULES)
def test_default_laws_are_what_torch_draws(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        copies = [TORCH_MODULES[name]() for _ in range(400)]
    for parameter, law in initial_laws(copies[0]).items():
        drawn = torch.cat([copy.get_parameter(parameter).detach().flatten() for copy in copies])
        if isinstance(law, Constant):
            assert (drawn == law.value).all()
            continue
        assert isinstance(law, Normal | Uniform)
        assert len(drawn) >= 2000
        assert ks_p_value(drawn, law) >= 1e-4  # some forty tensors are tested: one of them may well be below 0.01
        # The control: a law 20 % wider is told apart with this many draws.
        wider = Normal(1.2 * law.std) if isinstance(law, Normal) else Uniform(1.2 * law.bound)
        assert ks_p_value(drawn, wider) < 1e-4
        if isinstance(law, Uniform):
            assert drawn.abs().max() <= law.bound * (1 + 1e-6)  # float32 rounding of the bound


def test_kaiming_normal_is_torchs() -> None:
    weight = torch.empty(64, 5, 3, 3)
    nn.init.kaiming_normal_(weight, generator=rng())
    law = kaiming_normal(weight)
    assert law.std == pytest.approx(math.sqrt(2 / 45), rel=1e-12)
    assert ks_p_value(weight, law) >= SIGNIFICANCE


def test_a_module_without_bias_has_no_law_for_it() -> None:
    assert list(initial_laws(nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2, affine=False)))) == [
        "0.weight"
    ]


def test_an_unknown_parameter_is_named_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"no initial law known for template.*initial_laws\(\)"):
        initial_laws(Unlawful())
    with pytest.raises(InputError, match="in_proj_weight"):
        initial_laws(nn.MultiheadAttention(4, 2))


@pytest.mark.parametrize("layer", [nn.Linear(4, 0), nn.Linear(0, 3)], ids=["no outputs", "no inputs"])
def test_a_layer_without_weights_has_torchs_laws_too(layer: nn.Linear) -> None:
    laws = initial_laws(layer)
    assert laws["bias"] == (Uniform(0.5) if layer.in_features else Constant(0.0))
    drawn = draw_initial(laws, {name: p.shape for name, p in layer.named_parameters()}, rng())
    assert {name: one.shape for name, one in drawn.items()} == {name: p.shape for name, p in layer.named_parameters()}


def test_a_long_list_of_unknown_parameters_is_cut_short() -> None:
    model = nn.Module()
    for number in range(30):
        model.register_parameter(f"p{number}", nn.Parameter(torch.zeros(1)))
    with pytest.raises(InputError, match="no initial law known for p0, p1, p2, p3, p4, p5 and 24 more: give"):
        initial_laws(model)


def test_given_values_are_the_models_own() -> None:
    layer = nn.Linear(3, 2)
    layer.initial_laws = lambda: {"weight": Given()}  # type: ignore[assignment]
    laws = initial_laws(layer)
    shapes = {name: p.shape for name, p in layer.named_parameters()}
    target = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for W_0 in (draw_initial(laws, shapes, rng()), rank_matched(target, laws, rng())):
        assert torch.equal(W_0["weight"], layer.weight)
        assert W_0["weight"].data_ptr() != layer.weight.data_ptr()
        assert not W_0["weight"].requires_grad


def test_what_the_model_declares_is_added_in_the_models_order() -> None:
    model = Unlawful(declared=True)
    laws = initial_laws(model)
    assert list(laws) == [name for name, _ in model.named_parameters()]
    assert laws["template"] == Normal(2.0)
    assert isinstance(laws["inner.weight"], Uniform)


@pytest.mark.parametrize("name", ["resnet8", "resnet20"])
def test_the_residual_networks_follow_kaiming_and_constants(name: str) -> None:
    model = build_model(name, in_channels=3, num_classes=10)
    for parameter, law in initial_laws(model).items():
        values = model.get_parameter(parameter)
        if values.dim() > 1:
            fan_in = values[0].numel()
            assert law == Normal(math.sqrt(2.0 / fan_in))
        elif parameter == "linear.bias":
            assert law == Uniform(1.0 / math.sqrt(model.get_parameter("linear.weight").shape[1]))
        else:
            assert law == Constant(1.0 if parameter.endswith("weight") else 0.0)


# --- torchvision's laws ----------------------------------------------------------------------------------------------


def tensors_of_torchvisions(kind: str, seeds: range) -> list[dict[str, Tensor]]:
    """What torchvision's own constructor draws."""
    from torchvision.models import resnet

    made = []
    with torch.random.fork_rng():
        for seed in seeds:
            torch.manual_seed(seed)
            made.append(
                {n: p.detach() for n, p in getattr(resnet, kind)(weights=None, num_classes=10).named_parameters()}
            )
    return made


@pytest.fixture(scope="module")
def constructed() -> list[dict[str, Tensor]]:
    """ResNet-18 of three seeds. Do not change it."""
    return tensors_of_torchvisions("resnet18", range(3))


def test_the_laws_of_torchvisions_network_are_what_it_draws(constructed: list[dict[str, Tensor]]) -> None:
    laws = initial_laws(build_model("resnet18", in_channels=3, num_classes=10))
    assert list(laws) == list(constructed[0])
    for name, law in laws.items():
        drawn = torch.cat([one[name].flatten()[:100_000] for one in constructed])  # the largest has 2.4 million entries
        if isinstance(law, Constant):
            assert (drawn == law.value).all(), name
        else:
            assert ks_p_value(drawn, law) >= 1e-4, name  # 22 tensors
    random = {name for name, law in laws.items() if not isinstance(law, Constant)}
    assert random == {name for name in laws if constructed[0][name].dim() > 1} | {"fc.bias"}


def test_fan_in_would_be_told_apart(constructed: list[dict[str, Tensor]]) -> None:
    # Where a convolution changes the number of channels, fan-in and fan-out differ: by a factor of 2 in the variance, or 21.
    for name in ("conv1.weight", "layer2.0.conv1.weight", "layer3.0.downsample.0.weight"):
        values = constructed[0][name]
        assert ks_p_value(values, kaiming_normal_fan_out(values)) >= 1e-4
        assert ks_p_value(values, kaiming_normal(values)) < SIGNIFICANCE


@pytest.mark.parametrize("name", ["resnet50", "resnet18_small", "resnet50_small"])
def test_every_convolution_of_the_others_has_the_fan_out_law(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=1, num_classes=10)
    laws = initial_laws(model)
    for parameter, law in laws.items():
        weight = model.get_parameter(parameter)
        if weight.dim() == 4:
            fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
            assert law == Normal(math.sqrt(2.0 / fan_out))
        elif parameter.startswith("fc."):
            assert law == Uniform(1.0 / math.sqrt(model.get_parameter("fc.weight").shape[1]))
        else:
            assert law == Constant(1.0 if parameter.endswith("weight") else 0.0)


def test_torchvisions_network_inside_an_own_model_is_known_and_what_the_model_declares_goes_first() -> None:
    class Declared(nn.Sequential):
        def initial_laws(self) -> dict[str, Law]:
            return {"0.conv1.weight": Normal(0.5)}

    with torch.device("meta"):
        parts = build_model("resnet18", in_channels=3, num_classes=8), nn.Conv2d(8, 4, 1)
        plain, declared = initial_laws(nn.Sequential(*parts)), initial_laws(Declared(*parts))
    assert plain["0.conv1.weight"] == Normal(math.sqrt(2.0 / (64 * 49)))
    assert declared == plain | {"0.conv1.weight": Normal(0.5)}
    assert isinstance(plain["1.weight"], Uniform), "a convolution outside of it has torch's own law"


# --- draws -----------------------------------------------------------------------------------------------------------

LAWS: dict[str, Law] = {"conv": Normal(0.2), "linear": Uniform(0.1), "bias": Uniform(0.1), "scale": Constant(1.0)}
SHAPES = {
    "conv": torch.Size([8, 4, 3, 3]),
    "linear": torch.Size([10, 30]),
    "bias": torch.Size([1]),
    "scale": torch.Size([8]),
}


@pytest.mark.parametrize("seed", range(30))
def test_drawn_weights_always_pass_the_verifiers_test(seed: int) -> None:
    drawn = draw_initial(LAWS, SHAPES, rng(seed))
    assert {name: tensor.shape for name, tensor in drawn.items()} == SHAPES
    assert all(ks_p_value(drawn[name], law) >= SIGNIFICANCE for name, law in LAWS.items() if name != "scale")
    assert (drawn["scale"] == 1.0).all()


def test_same_generator_same_weights_other_generator_other_weights() -> None:
    first, again, other = (draw_initial(LAWS, SHAPES, rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in LAWS)
    assert not torch.equal(first["conv"], other["conv"])
