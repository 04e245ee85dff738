"""What raypol does with models that people bring: proving, verifying and spoofing leave them as they were written."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from raypol import SpoofConfig, TrainConfig, prove, spoof, verify
from raypol.core.arithmetic.precision import Precision
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.proof import MemoryProof, Recipe
from raypol.core.protocol import ForgedProof
from raypol.core.relatives.dlg import Statistics, shared_gradient
from raypol.core.relatives.points import look, pick_points
from raypol.core.spoofing.objectives import statistics_frozen
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions
from raypol.core.verification.verdict import Check, Verdict
from tests.own_models import BACKBONE, PARAMETRISED
from tests.toys import EXACT, changed, copy_of

GIVEN = ("0.weight", "0.bias")


def own(name: str) -> str:
    return f"tests.own_models:{name}"


def recipe_of(name: str, digits: Dataset, precision: Precision = "float32") -> Recipe:
    config = TrainConfig(model=own(name), steps=6, interval=2, batch_size=16, precision=precision)
    return config.recipe(digits, device="cpu", threads=1)


def forged(proof: MemoryProof, digits: Dataset, attack: str = "iii_invisible", path: str = "linear") -> ForgedProof:
    trajectory = TrajectoryConfig(path=path)  # type: ignore[arg-type]
    return spoof(proof, digits, attack, SpoofConfig(steps=4, interval=2, batch_size=16, trajectory=trajectory))


def initial(verdict: Verdict) -> Check:
    (found,) = (check for check in verdict.checks if check.name == "initial_state")
    return found


# --- given weights ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["tuned_head", "tuned_whole"])
def tuned(request: pytest.FixtureRequest, digits: Dataset) -> MemoryProof:
    """Fine-tuning from loaded weights, frozen or not. Tamper with a `copy_of` it."""
    return prove(recipe_of(request.param, digits), digits)


@pytest.mark.parametrize("policy", ["published", "strict"])
def test_fine_tuning_is_a_proof_whose_verdict_says_that_its_start_is_given(
    tuned: MemoryProof, digits: Dataset, policy: str
) -> None:
    W_0 = tuned.checkpoints[0].parameters
    assert all((W_0[f"0.{name}"] == value).all() for name, value in BACKBONE.items())
    assert set(tuned.recipe.given) == set(GIVEN)
    verdict = verify(tuned, digits, policy=policy, thresholds=EXACT)
    assert verdict.is_valid
    assert "W_0 is given, not drawn, in 40 of 1,490 entries (0.weight, 0.bias)" in initial(verdict).detail
    assert (initial(verdict).numbers["given_entries"], initial(verdict).numbers["initial_entries"]) == (40.0, 1490.0)


def test_a_drawn_start_is_not_said_to_be_given(honest: MemoryProof, digits: Dataset) -> None:
    found = initial(verify(honest, digits))
    assert "given" not in found.detail
    assert found.numbers["given_entries"] == 0.0


@pytest.mark.parametrize("attack", ["null", "iii_invisible"])
@pytest.mark.parametrize("path", ["linear", "noisy"])
def test_a_spoof_starts_where_the_given_weights_say(
    tuned: MemoryProof, digits: Dataset, attack: str, path: str
) -> None:
    made = forged(tuned, digits, attack, path)
    assert made.recipe.given == tuned.recipe.given
    frozen = tuned.recipe.model == own("tuned_head")
    for checkpoint in made.checkpoints:
        for name in GIVEN:
            same = torch.equal(checkpoint.parameters[name], tuned.checkpoints[0].parameters[name])
            assert same == (frozen or checkpoint.step == 0)
    for policy in ("published", "strict"):
        assert initial(verify(made, digits, policy=policy)).passed


def test_frozen_weights_that_were_drawn_stay_the_stolen_ones(digits: Dataset) -> None:
    config = TrainConfig(model="tests.toys:frozen_body", steps=6, interval=2, batch_size=16)
    proof = prove(config, digits)
    for path in ("linear", "noisy"):
        made = forged(proof, digits, path=path)
        frozen = [checkpoint.parameters["body.weight"] for checkpoint in made.checkpoints]
        assert all(torch.equal(one, proof.checkpoints[0].parameters["body.weight"]) for one in frozen)
        assert initial(verify(made, digits)).passed


@pytest.mark.parametrize("policy", ["published", "strict"])
def test_one_changed_entry_of_a_given_tensor_is_seen(tuned: MemoryProof, digits: Dataset, policy: str) -> None:
    proof = copy_of(tuned)
    first = proof.checkpoints[0]
    value = first.parameters["0.weight"].clone()
    value[0, 0, 0, 0] = value[0, 0, 0, 0].nextafter(torch.tensor(1.0))
    proof.checkpoints[0] = replace(first, parameters=changed(first.parameters, "0.weight", value))
    proof.seal()
    found = initial(verify(proof, digits, policy=policy))
    assert not found.passed
    assert found.detail == "0.weight: W_0 does not have the values that the recipe declares as given"


def _without(recipe: Recipe) -> Recipe:
    return replace(recipe, given={})


def _other(recipe: Recipe) -> Recipe:
    return replace(recipe, given={**recipe.given, "0.weight": "ab" * 32})


def _more(recipe: Recipe) -> Recipe:
    return replace(recipe, given={**recipe.given, "2.weight": "ab" * 32})


def _foreign(recipe: Recipe) -> Recipe:
    return replace(recipe, given={**recipe.given, "n" * 1000: "ab" * 32})


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (_without, "0.weight: the verifier's tests.own_models:tuned_head gives its values, the recipe declares none"),
        (_other, "0.weight: the verifier's tests.own_models:tuned_head gives it other values than the recipe declares"),
        (_more, "2.weight: the recipe declares it as given, the verifier's tests.own_models:tuned_head does not"),
        (_foreign, f"{'n' * 80}: the recipe declares it as given, the model has none such"),
    ],
)
def test_a_declaration_that_is_not_the_verifiers_is_rejected_in_one_line(
    tuned: MemoryProof, digits: Dataset, declare: object, said: str
) -> None:
    proof = copy_of(tuned)
    proof.recipe = declare(replace(proof.recipe, model=own("tuned_head")))  # type: ignore[operator]
    proof.seal()
    found = initial(verify(proof, digits, policy="published"))
    assert not found.passed
    assert found.detail.startswith(said)


def test_a_verifier_whose_model_loads_other_weights_says_so(
    tuned: MemoryProof, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONE, "bias", 0.25)  # another file on the verifier's disk
    found = initial(verify(tuned, digits))
    assert not found.passed
    assert found.detail.startswith(f"0.bias: the verifier's {tuned.recipe.model} gives it other values")
    with pytest.raises(InputError, match="gives other initial values than the recipe declares"):
        prove(tuned.recipe, digits)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_constant_that_float32_rounds_holds(precision: Precision, digits: Dataset) -> None:
    proof = prove(recipe_of("constant_backbone", digits, precision), digits)
    assert verify(proof, digits, thresholds=EXACT).is_valid


def test_given_weights_are_compared_in_the_declared_precision(digits: Dataset) -> None:
    proof = prove(recipe_of("tuned_whole", digits, "float64"), digits)
    assert proof.checkpoints[0].parameters["0.weight"].dtype == torch.float64
    for conditions in (Conditions(augmentation="recorded"), Conditions(augmentation="recorded", precision="float32")):
        assert verify(proof, digits, conditions=conditions).is_valid


@pytest.mark.parametrize("name", ["pretrained", "loaded", "complex_weight", "undeclared_spectral_norm", "underflowing"])
def test_a_model_that_cannot_be_proved_is_refused(name: str, digits: Dataset) -> None:
    plain = replace(recipe_of("tuned_head", digits), model=own(name), given={})
    with pytest.raises(InputError, match=r"initial_laws\(\)|floating-point|float32 cannot hold"):
        prove(plain, digits)


# --- dtypes ----------------------------------------------------------------------------------------------------------

KEPT = {
    "order": torch.int64,
    "mask": torch.bool,
    "levels": torch.uint8,
    "short": torch.int16,
    "freqs_cis": torch.complex64,
    "turn": torch.complex64,
    "seen": torch.int64,
}
FLOATING = ("scale", "attention")


@pytest.fixture(scope="module")
def buffered(digits: Dataset) -> MemoryProof:
    return prove(recipe_of("buffered", digits), digits)


def test_the_declared_precision_changes_floating_point_only(digits: Dataset, buffered: MemoryProof) -> None:
    for proof, weights in (
        (buffered, torch.float32),
        (prove(recipe_of("buffered", digits, "float64"), digits), torch.float64),
    ):
        built = dict(build_model(own("buffered"), in_channels=1, num_classes=10).named_buffers())
        for checkpoint in proof.checkpoints:
            kinds = {name: buffer.dtype for name, buffer in checkpoint.buffers.items()}
            assert kinds == KEPT | dict.fromkeys(FLOATING, weights)
            for name in KEPT.keys() - {"turn", "seen"}:
                assert torch.equal(checkpoint.buffers[name], built[name]), name
            assert int(checkpoint.buffers["seen"]) == checkpoint.step
            angle = checkpoint.buffers["turn"].angle()
            torch.testing.assert_close(angle, torch.tensor([0.1, 0.2]) * checkpoint.step, atol=1e-5, rtol=0)
        assert verify(proof, digits, thresholds=EXACT).is_valid


def test_a_replay_in_another_precision_keeps_them_too(digits: Dataset, buffered: MemoryProof) -> None:
    verdict = verify(buffered, digits, conditions=Conditions(augmentation="recorded", precision="float64"))
    assert verdict.is_valid


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("freqs_cis", torch.ones(32, dtype=torch.complex64)),
        ("scale", torch.ones(64)),
        ("attention", torch.zeros(64)),
        ("mask", torch.ones(64, dtype=torch.bool)),
    ],
)
def test_a_forged_table_is_seen(digits: Dataset, buffered: MemoryProof, name: str, value: Tensor) -> None:
    proof = copy_of(buffered)
    first = proof.checkpoints[0]
    proof.checkpoints[0] = replace(first, buffers=changed(first.buffers, name, value))
    proof.seal()
    assert set(verify(proof, digits).rejected_by.split(",")) & {"initial_state", "structure"}


def test_a_complex_entry_that_is_not_finite_is_seen(digits: Dataset, buffered: MemoryProof) -> None:
    proof = copy_of(buffered)
    last = proof.checkpoints[-1]
    proof.checkpoints[-1] = replace(
        last, buffers=changed(last.buffers, "turn", torch.tensor([1.0, complex(0.0, float("nan"))]))
    )
    proof.seal()
    assert "finite" in verify(proof, digits).rejected_by


def test_a_spoof_has_the_models_buffers(digits: Dataset, buffered: MemoryProof) -> None:
    made = forged(buffered, digits)
    for checkpoint in made.checkpoints:
        kinds = {name: buffer.dtype for name, buffer in checkpoint.buffers.items()}
        assert kinds == {name: buffer.dtype for name, buffer in buffered.checkpoints[-1].buffers.items()}
        assert torch.equal(checkpoint.buffers["attention"], buffered.checkpoints[-1].buffers["attention"])
        assert int(checkpoint.buffers["seen"]) == checkpoint.step
    assert not {"structure", "initial_state", "finite"} & set(verify(made, digits).rejected_by.split(","))


def test_loaded_statistics_are_where_training_and_spoofs_start(digits: Dataset) -> None:
    proof = prove(recipe_of("loaded_norm", digits), digits)
    for one in (proof, forged(proof, digits)):
        assert [int(c.buffers["1.num_batches_tracked"]) for c in one.checkpoints] == [
            1000 + c.step for c in one.checkpoints
        ]
        assert (one.checkpoints[0].buffers["1.running_mean"] == 1.0).all()
        assert initial(verify(one, digits)).passed


# --- modes -----------------------------------------------------------------------------------------------------------


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


EVALUATING: Mapping[str, set[str]] = {
    "frozen_norm": {"1"},
    "norm_frozen_by_train": {"1"},
    "still_dropout": {"1"},
    "wholly_evaluating": {"", "0", "1", "2", "3", "4"},
}
"""Modules in evaluation mode by the model's own doing."""


@pytest.mark.parametrize("name", EVALUATING)
def test_modes_stay_as_the_constructor_left_them(name: str, digits: Dataset) -> None:
    proof = prove(recipe_of(name, digits), digits)
    trainer = Trainer(proof.recipe, digits)
    wanted = {module: module not in EVALUATING[name] for module in modes(trainer.model)}
    assert modes(trainer.model) == wanted
    trainer.accuracy(proof.checkpoints[-1])
    look(trainer, *pick_points(trainer, [0]))
    shared_gradient(trainer, *pick_points(trainer, [0]))
    with trainer.evaluating():
        assert not any(modes(trainer.model).values())
    assert modes(trainer.model) == wanted
    assert verify(proof, digits, thresholds=EXACT).is_valid
    if "dropout" not in name:  # statistics of an evaluating norm layer do not move, nor in a spoof
        for checkpoint in (*proof.checkpoints, *forged(proof, digits).checkpoints):
            assert (checkpoint.buffers["1.running_mean"] == 0.0).all()
            assert int(checkpoint.buffers["1.num_batches_tracked"]) == 0


def test_what_drops_out_is_what_the_constructor_left_in_training_mode(digits: Dataset) -> None:
    trainer = Trainer(recipe_of("still_dropout", digits), digits)
    x = torch.rand(4, 1, 8, 8)
    first, second = (trainer.model[:2](x) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(trainer.model(x), trainer.model(x))


@pytest.mark.parametrize("name", ["frozen_norm", "wholly_evaluating"])
def test_batch_statistics_are_taken_by_norm_layers_in_training_mode_only(name: str, digits: Dataset) -> None:
    trainer = Trainer(recipe_of(name, digits), digits)
    points = pick_points(trainer, [0])
    recorded, batch = (shared_gradient(trainer, *points, statistics=one) for one in get_args(Statistics))
    assert all(torch.equal(recorded[key], batch[key]) for key in recorded)


# --- tensors without entries, laws that cannot be drawn -------------------------------------------------------------


@pytest.mark.parametrize("name", ["empty_head", "empty_input"])
def test_tensors_without_entries_are_proved_and_spoofed(name: str, digits: Dataset) -> None:
    proof = prove(recipe_of(name, digits), digits)
    assert verify(proof, digits, thresholds=EXACT).is_valid
    for path in ("linear", "noisy"):
        assert initial(verify(forged(proof, digits, path=path), digits)).passed


# --- parametrised layers ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", PARAMETRISED)
def test_parametrised_layers_are_proved_and_spoofed(name: str, digits: Dataset) -> None:
    proof = prove(recipe_of(name, digits), digits)
    assert verify(proof, digits, thresholds=EXACT).is_valid
    first, last = proof.checkpoints[0], proof.checkpoints[-1]
    moved = {key for key, value in first.parameters.items() if not torch.equal(value, last.parameters[key])}
    assert moved == set(first.parameters)
    assert not {"structure", "initial_state"} & set(verify(forged(proof, digits), digits).rejected_by.split(","))


@pytest.mark.parametrize("name", ["spectral_norm", "old_spectral_norm"])
def test_a_replay_needs_the_recorded_vectors_of_spectral_norm(name: str, digits: Dataset) -> None:
    proof = copy_of(prove(recipe_of(name, digits), digits))
    assert all(not torch.equal(b, proof.checkpoints[2].buffers[k]) for k, b in proof.checkpoints[1].buffers.items())
    middle = proof.checkpoints[1]
    wrong = {key: b.flip(0) for key, b in middle.buffers.items()}
    proof.checkpoints[1] = replace(middle, buffers=wrong)
    proof.seal()
    assert verify(proof, digits, thresholds=EXACT).rejected_by.startswith("replay")


@pytest.mark.parametrize("name", ["spectral_norm", "buffered"])
def test_crafting_forgets_what_its_forward_passes_record(name: str, digits: Dataset) -> None:
    trainer = Trainer(recipe_of(name, digits), digits)
    before = {key: buffer.clone() for key, buffer in trainer.buffers.items()}
    with statistics_frozen(trainer):
        trainer.loss(trainer.inputs(digits.pixels[:8], 0), digits.labels[:8])
        assert any(not torch.equal(buffer, before[key]) for key, buffer in trainer.buffers.items())
    assert all(torch.equal(buffer, before[key]) for key, buffer in trainer.buffers.items())
