"""What a stolen model is worth once it has a given cosine with a W_0 that came later, before and after repair.

    python -m benchmarks.blend                                       # digits, resnet8: a minute
    python -m benchmarks.blend --seeds 3 --cosines 0.2 0.5 0.8 --repairs 0 100

Each row is a blend W_T + e W_0 (attack `blend`), each pair of columns a number of repair steps: the claimed model's test accuracy
with statistics of a pass over the data, and its cosine with W_0. The last row has no stolen model: the same steps from W_0.
"""

from dataclasses import dataclass, replace
from statistics import median

import torch
import tyro

from raypol.core.attacks.null import METHOD, Null
from raypol.core.attacks.other_models.blend import Blend, blended, repaired
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.distances import cosine_of
from raypol.core.models.initial_laws import RandomLaw, initial_laws
from raypol.core.proof import Checkpoint, MemoryProof
from raypol.core.protocol import prove
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Options:
    """Blend, repair and measure."""

    dataset: str = "digits"
    """Name of the dataset."""
    model: str = "resnet8"
    """Name of the model."""
    steps: int = 1000
    """T of the stolen training."""
    cosines: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)
    """Cosines of W_0 and the blend."""
    repairs: tuple[int, ...] = (0, 10, 30, 100, 300)
    """Steps of repair."""
    repair_lr: float = 0.01
    """Rate of these steps."""
    seeds: int = 1
    """Draws of W_0; medians are shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A claimed model."""

    accuracy: float
    """Share of the test points that it gets right."""
    cosine: float
    """With W_0, over all tensors with a random law."""


def outcomes(
    stolen: MemoryProof, data: Dataset, options: Options, seed: int
) -> dict[tuple[float | None, int], Outcome]:
    """Claimed models by cosine (None = nothing stolen) and steps of repair, for one draw of W_0."""
    choices = SpoofConfig(steps=options.steps, trajectory=TrajectoryConfig(start="honest"), seed=seed)
    recipe = spoof_recipe(METHOD, Null(), choices, stolen.recipe, data)
    scene = make_scene(METHOD, Null(), choices, recipe, data, stolen.checkpoints[-1])
    start, W_T = scene.trajectory.checkpoint(0), scene.trajectory.checkpoint(recipe.steps)
    laws = initial_laws(scene.trainer.fresh_model())
    random = {name: start.parameters[name] for name, law in laws.items() if isinstance(law, RandomLaw)}
    found: dict[tuple[float | None, int], Outcome] = {}
    for cosine in (*options.cosines, None):
        for repair in options.repairs:
            config = Blend(blend_cosine=cosine or 0.0, repair=repair, repair_lr=options.repair_lr)
            broken = start
            if cosine is not None:
                parameters = blended(start.parameters, W_T.parameters, laws, config)
                broken = replace(W_T, parameters=parameters)
            claimed = with_statistics(scene, repaired(scene, broken, config))
            found[cosine, repair] = Outcome(scene.trainer.accuracy(claimed), cosine_of(random, claimed.parameters))
    return found


def with_statistics(scene: Scene, model: Checkpoint) -> Checkpoint:
    """The model with norm statistics that a pass over the data leaves, as steering towards it would."""
    scene.trainer.load(model)
    order = DataOrder(len(scene.dataset), scene.recipe.batch_size, scene.seed)
    for step in range(order.steps_per_epoch):
        scene.trainer.record_statistics(step, scene.trainer.dataset.pixels[torch.from_numpy(order(step))])
    return scene.trainer.snapshot(model.step)


def main() -> None:
    """Print the table."""
    options = tyro.cli(Options)
    data = load_dataset(options.dataset)
    stolen = prove(TrainConfig(dataset=options.dataset, model=options.model, steps=options.steps), data)
    runs = [outcomes(stolen, data, options, seed) for seed in range(options.seeds)]
    print("| cosine | " + " | ".join(f"{repair} steps" for repair in options.repairs) + " |")
    print("|" + "---|" * (len(options.repairs) + 1))
    for cosine in (*options.cosines, None):
        cells = []
        for repair in options.repairs:
            accuracy = median(run[cosine, repair].accuracy for run in runs)
            left = median(run[cosine, repair].cosine for run in runs)
            cells.append(f"{accuracy:.3f} ({left:.2f})")
        print(f"| {'no stolen model' if cosine is None else cosine} | {' | '.join(cells)} |")
    print(f"Cost in honest steps: the claimed T' and {', '.join(map(str, options.repairs))} of repair.")


if __name__ == "__main__":
    main()
