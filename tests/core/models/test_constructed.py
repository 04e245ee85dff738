"""What constructors give is compared with the laws that W_0 would be drawn from."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from raypol.core.errors import InputError
from raypol.core.hashing import tensor_digest
from raypol.core.models import MODELS, build_model
from raypol.core.models.constructed import CONTRADICTION, checked_laws, contradiction, given_digests
from raypol.core.models.initial_laws import Constant, Given, Law, Normal, Uniform, ks_p_value
from tests.own_models import BACKBONE, Declared

OWN = ["mlp", "dropout_mlp", "group_norm_net", "scaled_mlp", "random_features", "warming_mlp", "frozen_body"]


def own(name: str) -> nn.Module:
    return build_model(f"tests.own_models:{name}", in_channels=1, num_classes=10)


@pytest.mark.parametrize("name", [*MODELS, *(f"tests.toys:{one}" for one in OWN)])
def test_models_that_follow_their_laws_pass(name: str) -> None:
    model = build_model(name, in_channels=3, num_classes=10)
    assert list(checked_laws(model, name)) == [parameter for parameter, _ in model.named_parameters()]


@pytest.mark.parametrize(("zero", "name"), [(True, r"layer1\.0\.bn2\.weight"), (False, r"layer1\.0\.conv1\.weight")])
def test_torchvisions_network_that_does_not_start_as_usual_is_told(zero: bool, name: str) -> None:
    from torchvision.models import resnet18

    net = resnet18(weights=None, zero_init_residual=zero)
    if not zero:
        net.layer1[0].conv1.weight.data *= 1.3  # as loaded weights have another width
    with pytest.raises(InputError, match=rf"own:net: W_0 of {name} would be drawn from .*initial_laws\(\).*Given\(\)"):
        checked_laws(net, "own:net")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "pretrained",
            r"0\.weight, 0\.bias would be drawn at random and stay so, for requires_grad is False: .*Given\(\)",
        ),
        (
            "loaded",
            r"W_0 of 0\.weight would be drawn from Uniform.*, 0\.111 in every entry \(and 1 more\): .*Given\(\)",
        ),
        ("complex_weight", r"expected floating-point parameters, got 1\.phase \(torch\.complex64\)"),
        ("undeclared_spectral_norm", r"no initial law known for 1\.bias, 1\.parametrizations\.weight\.original: give "),
    ],
)
def test_a_model_that_would_not_be_the_one_that_was_written_is_told_in_one_line(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as err:
        checked_laws(own(name), name)
    assert "\n" not in str(err.value)


def test_declared_laws_are_taken_at_their_word() -> None:
    laws = checked_laws(own("constant_backbone"), "m")
    assert laws["0.weight"] == Constant(BACKBONE["weight"])
    given = checked_laws(own("tuned_head"), "m")["0.weight"]
    assert isinstance(given, Given)
    assert given.values is not None
    assert (given.values == BACKBONE["weight"]).all()


def _zero_bias() -> nn.Module:
    layer = nn.Linear(30, 4)
    nn.init.zeros_(layer.bias)
    return layer


def _orthogonal() -> nn.Module:
    layer = nn.Linear(300, 300)
    nn.init.orthogonal_(layer.weight)
    return layer


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        (_zero_bias, "bias"),  # four entries: no KS test would see it
        (lambda: nn.PReLU(init=0.1), "weight"),
        (lambda: nn.MultiheadAttention(4, 2).out_proj, "bias"),
        (_orthogonal, "weight"),
    ],
    ids=["zero bias", "prelu", "attention", "orthogonal"],
)
def test_an_initialisation_of_the_users_own_is_told(layer: Callable[[], nn.Module], wrong: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = layer()
    with pytest.raises(InputError, match=f"W_0 of {wrong} would be drawn from"):
        checked_laws(model, "m")


def test_a_padding_row_of_zeros_needs_a_declared_law() -> None:
    with pytest.raises(InputError, match="no initial law known for weight"):
        checked_laws(nn.Embedding(50, 8, padding_idx=0), "m")


LAWS: list[tuple[Law, Callable[[int, torch.Generator], Tensor]]] = [
    (Normal(0.3), lambda n, rng: 0.3 * torch.randn(n, generator=rng)),
    (Uniform(0.3), lambda n, rng: 0.6 * torch.rand(n, generator=rng) - 0.3),
]


@pytest.mark.parametrize(("law", "draw"), LAWS, ids=["normal", "uniform"])
@pytest.mark.parametrize("n", [0, 1, 2, 40, 10_001, 30_000])
def test_honest_draws_are_never_called_a_contradiction(law: Law, draw: Callable[..., Tensor], n: int) -> None:
    rng = torch.Generator().manual_seed(n)
    assert CONTRADICTION <= 1e-8
    for _ in range(100 if n < 1000 else 5):
        values = draw(n, rng)
        assert contradiction(values, law) == ""
        assert contradiction(values.bfloat16(), law) == ""


@pytest.mark.parametrize(
    ("law", "values"),
    [
        (Normal(1.0), torch.zeros(1)),
        (Uniform(1.0), torch.full((2,), 0.3)),
        (Uniform(0.1), torch.tensor([0.01, 0.2, -0.05])),
        (Constant(1.0), torch.tensor([1.0, 1.0, 0.999])),
        (Normal(0.02), 0.028 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))),
        (Normal(1.0), torch.tensor([0.3, float("nan")])),
        (Constant(1.0), torch.tensor([1.0, float("nan")])),
    ],
    ids=["zero", "equal", "beyond", "constant", "wide", "nan", "constant nan"],
)
def test_values_that_a_law_cannot_give_are_told(law: Law, values: Tensor) -> None:
    assert contradiction(values, law)


def test_only_some_entries_of_a_large_tensor_are_tested_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tested: list[Tensor] = []

    def spy(values: Tensor, law: Law) -> float:
        tested.append(values)
        return ks_p_value(values, law)

    monkeypatch.setattr("raypol.core.models.constructed.ks_p_value", spy)
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert contradiction(values.view(2, -1), Normal(1.0)) == ""
    (some,) = tested
    assert 9_000 < len(some) <= 10_000
    assert len(set(some.tolist())) == len(some)


def test_digests_are_those_of_the_recorded_tensors() -> None:
    model = own("tuned_head")
    laws = checked_laws(model, "m")
    digests = given_digests(laws, torch.float64)
    assert digests == {f"0.{n}": tensor_digest(model.get_parameter(f"0.{n}").double()).hex() for n in BACKBONE}
    assert given_digests(laws, torch.float32) != digests


@pytest.mark.parametrize(
    ("laws", "said"),
    [
        ({"0__wieght": Given()}, "names '0.wieght', which is none of its parameters"),
        ({"0__weight": 0.1}, r"expected a law such as Normal\(0.02\) for 0.weight .*, got 0.1"),
    ],
)
def test_a_bad_declaration_is_one_line(laws: dict[str, Law], said: str) -> None:
    with pytest.raises(InputError, match=said):
        checked_laws(Declared(nn.Linear(3, 2), **laws), "m")
    with pytest.raises(InputError, match=r"expected a dict from the model's initial_laws\(\), got list"):
        checked_laws(_DeclaresAList(), "m")


class _DeclaresAList(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)

    def initial_laws(self) -> list[str]:
        return ["weight"]
