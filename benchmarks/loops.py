"""Timed alternatives: proving into Parquet, the bare loop, and the classic pipeline of training scripts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import data

from raypol.core.clock import synchronise
from raypol.core.datasets.dataset import Dataset
from raypol.core.models import build_model
from raypol.core.proof import Recipe
from raypol.core.training.prover import data_order, initial_checkpoint, record_training
from raypol.core.training.trainer import Trainer
from raypol.store.location import open_location
from raypol.store.proofs.writer import new_proof


@dataclass(slots=True)
class Spent:
    """Time of a piece of work."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """CPU time of all threads of this process, less noisy than wall time beside other work."""


@contextmanager
def spending(device: torch.device) -> Iterator[Spent]:
    """Measure the block."""
    spent = Spent()
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    yield spent
    synchronise(device)
    spent.wall_s, spent.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set torch's number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def proving(recipe: Recipe, dataset: Dataset, results: Path, device: torch.device) -> Spent:
    """Generate the proof into Parquet, from the first step until the last file is closed.

    Building the model and drawing W_0 is start-up, for the other loops too: it is in the CPU time alone.
    """
    with new_proof(open_location(results), "bench", recipe, len(dataset)) as writer, spending(device) as spent:
        cost = record_training(recipe, dataset, writer, device=device)
        proved = time.perf_counter()
        writer.finish(cost, {})
        finishing_s = time.perf_counter() - proved
    return Spent(cost.wall_s + finishing_s, spent.cpu_s)


def bare_loop(recipe: Recipe, dataset: Dataset, device: torch.device) -> Spent:
    """Run the same steps on the same batches, ready as tensors on the device, in plain torch without recording."""
    trainer = Trainer(recipe, dataset, device)
    trainer.load(initial_checkpoint(recipe, dataset))
    order = data_order(recipe, dataset)
    batches = []
    for step in range(recipe.steps):
        where = torch.from_numpy(order(step)).to(device)
        batches.append((trainer.inputs(trainer.dataset.pixels[where], step), trainer.dataset.labels[where]))
    model, optimizer = trainer.model, trainer.optimizer
    with spending(device) as spent:
        for inputs, labels in batches:
            _step(model, optimizer, inputs, labels)
    return spent


def classic_pipeline(recipe: Recipe, dataset: Dataset, folder: Path, device: torch.device) -> Spent:
    """Train as scripts do: PIL images one by one, NCHW, torch.save of net and optimizer every k steps.

    It records as many states as the proof does, and neither indices nor hashes.
    """
    model = build_model(recipe.model, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes).to(device)
    optimizer = torch.optim.SGD(model.parameters(), **recipe.optimizer.options)  # type: ignore[arg-type]
    loader = data.DataLoader(
        _Images(recipe, dataset), batch_size=recipe.batch_size, shuffle=True, drop_last=True, num_workers=0
    )
    with spending(device) as spent:
        epochs = chain.from_iterable(repeat(loader))  # shuffled anew each time
        for step, (inputs, labels) in enumerate(islice(epochs, recipe.steps)):
            if step % recipe.interval == 0:
                _save(model, optimizer, folder / f"model_step_{step}")
            _step(model, optimizer, inputs.to(device), labels.to(device))
        _save(model, optimizer, folder / f"model_step_{recipe.steps}")
    return spent


def two_convolutions(*, in_channels: int, num_classes: int) -> nn.Module:
    """A network for 28x28 images with cheap steps compared to the pipeline."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, num_classes),
    )


class _Images(data.Dataset[tuple[Tensor, int]]):
    """The dataset in the form of torchvision's classes."""

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        from torchvision import transforms

        declared = recipe.transform
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(dataset.image_shape[1:], padding=declared.crop_padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(declared.mean, declared.std),
            ]
        )
        images = dataset.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self._images = images[..., 0] if images.shape[-1] == 1 else images
        self._labels = dataset.labels.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self._transform(Image.fromarray(self._images[index])), self._labels[index]


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _save(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    torch.save({"net": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
