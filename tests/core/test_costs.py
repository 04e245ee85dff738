"""StepCost that is counted small against what is known of the networks and measured of the attacks."""

from dataclasses import replace

import pytest

from raypol.core.attacks import find_attack, method_of
from raypol.core.costs import StepCost, crafting_step_cost, training_step_cost
from raypol.core.datasets.load import DATASETS, load_dataset, random_points, shape_of
from raypol.core.datasets.shapes import SHAPES, Shape
from raypol.core.errors import InputError
from raypol.core.proof import OptimizerConfig, Recipe
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.seal import craft_interval
from raypol.core.spoofing.spoof_config import SpoofConfig
from tests.scenes import claiming, stolen_digits

CIFAR = SHAPES["cifar10"]
DIGITS = SHAPES["digits"]
RECIPE = Recipe(dataset="x", dataset_sha256="", model="resnet8", steps=1000, interval=10, batch_size=64)


def test_a_step_of_resnet20_is_three_forward_passes_but_for_the_pixels_gradient() -> None:
    # He et al. 2016: 40.8 million multiplications forward; the first convolution's input needs no gradient.
    macs_forward = 432 * 32**2 + 6 * 2304 * 32**2 + (4608 + 5 * 9216) * 16**2 + (18432 + 5 * 36864) * 8**2 + 640
    expected = 2 * (3 * macs_forward - 432 * 32**2)
    assert training_step_cost(replace(RECIPE, model="resnet20"), CIFAR).flops == pytest.approx(expected, rel=1e-3)


def test_operations_are_per_point_and_launches_per_step() -> None:
    of = {batch: training_step_cost(replace(RECIPE, batch_size=batch), DIGITS) for batch in (2, 512)}
    assert of[2] == of[512]
    assert 100 < of[2].launches < 1000
    assert of[2].times(2.0) == of[2] + of[2]


@pytest.mark.parametrize("name", ["null", "infinitesimal"])
def test_controls_cost_nothing_to_craft(name: str) -> None:
    assert crafting_step_cost(RECIPE, DIGITS, SpoofConfig(), find_attack(name)).flops == 0.0


@pytest.mark.parametrize("name", ["ii", "iii_loss", "iii_invisible", "zhang2022_i", "i_tail"])
def test_more_iterations_cost_in_proportion(name: str) -> None:
    def flops(iterations: int) -> float:
        attack = find_attack(name, iterations=iterations)
        return crafting_step_cost(RECIPE, DIGITS, SpoofConfig(), attack).flops

    assert flops(9) - flops(5) == pytest.approx(flops(5) - flops(1))
    assert flops(5) > 3 * training_step_cost(RECIPE, DIGITS).flops


@pytest.mark.parametrize("name", ["iii_loss", "iii_invisible"])
def test_first_order_crafting_costs_what_its_gradient_evaluations_say(name: str) -> None:
    """Of a real interval: an evaluation with frozen weights is two passes of the three."""
    honest, data = stolen_digits(), load_dataset("digits")
    attack = find_attack(name, retries=0)
    spoof = claiming(steps=4, interval=4, carry="restart")
    method = method_of(attack)
    recipe = spoof_recipe(method, attack, spoof, honest.recipe)
    scene = make_scene(method, attack, spoof, recipe, data, honest.checkpoints[-1])
    made = craft_interval(method, scene, recipe.interval_at(0), attack)
    step = training_step_cost(recipe, DIGITS).flops
    counted = crafting_step_cost(recipe, DIGITS, spoof, attack).flops / step
    assert counted == pytest.approx(made.cost.gradient_evals / 4 * 2 / 3, rel=0.1)


def test_choosing_points_costs_a_forward_pass_of_all_for_each_choice() -> None:
    step = training_step_cost(RECIPE, DIGITS).flops
    passes = -(-DIGITS.num_points // RECIPE.batch_size)
    anew, once = (crafting_step_cost(RECIPE, DIGITS, SpoofConfig(), find_attack("selected", every=n)) for n in (1, 0))
    assert anew.flops == pytest.approx(step / 3 * passes / RECIPE.interval)
    assert once.flops == pytest.approx(step / 3 * passes / RECIPE.steps)


def test_an_optimizer_of_any_kind_is_counted() -> None:
    adam = replace(RECIPE, optimizer=OptimizerConfig(name="Adam", options={"lr": 0.1}))
    assert training_step_cost(adam, DIGITS).flops == training_step_cost(RECIPE, DIGITS).flops


@pytest.mark.parametrize("name", ["digits", "fashion_mnist"])
def test_shapes_are_those_of_the_files(name: str) -> None:
    try:
        data = load_dataset(name)
    except InputError as err:
        pytest.skip(str(err))
    assert Shape(num_points=len(data), image_shape=data.image_shape, num_classes=data.num_classes) == shape_of(name)
    assert data.num_classes == int(data.labels.max()) + 1


def test_halves_classes_and_own_sets_have_shapes_too() -> None:
    halves = [shape_of(f"digits/D{half}").num_points for half in (1, 2)]
    assert halves == [len(load_dataset(f"digits/D{half}")) for half in (1, 2)]
    assert shape_of("imagenet_subset@classes=20") == Shape(num_points=26_000, image_shape=(3, 128, 128), num_classes=20)
    assert shape_of("tests.scenes:tiny") == shape_of("tests.scenes:tiny")
    assert set(SHAPES) == {name for name in DATASETS if not name.endswith("_format")}
    points = random_points(CIFAR, 5)
    assert (points.image_shape, points.num_classes, len(points)) == ((3, 32, 32), 10, 5)
    with pytest.raises(InputError, match="unknown dataset"):
        shape_of("cifar11")


def test_work_adds_up() -> None:
    assert StepCost(1.0, 2.0) + StepCost(3.0, 4.0).times(2.0) == StepCost(7.0, 10.0)
