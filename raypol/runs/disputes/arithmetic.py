"""Where a party or a referee computes, and how: bits repeat under the declared arithmetic alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch

from raypol.cluster.placement import parse_device
from raypol.core.arithmetic.machine import device_name
from raypol.core.arithmetic.precision import SAME_EVERYWHERE, usable_device
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.dispute.training import DeclaredTraining
from raypol.core.errors import InputError, check_whole
from raypol.core.proof import Recipe
from raypol.runs.trials.environment import versions
from raypol.runs.trials.verify import allow_names, check_names

_MOST_THREADS: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What one participant brings of its own: its device, its copy of the dataset, the names of code that it lets run."""

    device: str = ""
    """As for other commands (cpu:2, gpu); empty = device and threads as the recipe declares them, or this machine's CPU where
    bits do not depend on them."""
    data_dir: str | None = None
    dataset: str | None = None
    """None = the built-in one that the recipe names."""
    model: str | None = None
    """An import path that the recipe may name."""

    def data(self, recipe: Recipe) -> Dataset:
        """The dataset that a recipe names.

        Raises:
            InputError: the recipe names code that was not allowed, or other data.
        """
        allow_names(recipe, dataset=self.dataset, model=self.model)
        source = DataSource(name=self.dataset or recipe.dataset, folder=self.data_dir)
        check_names(recipe, source)
        return source.load()

    def place(self, recipe: Recipe) -> tuple[str, int]:
        """Torch's name of the device, and the number of threads.

        Raises:
            InputError: this machine has no such device.
        """
        if self.device:
            request = parse_device(self.device)
            usable_device(request.torch_device)
            return request.torch_device, request.threads
        if recipe.precision in SAME_EVERYWHERE:  # any place will do, and no party's recipe chooses it
            return "cpu", torch.get_num_threads()
        if recipe.device not in ("cpu", "cuda"):
            raise InputError("the recipe declares no device to compute on; give --device (cpu, cpu:2, gpu)")
        check_whole("threads of the recipe", recipe.threads, 1, _MOST_THREADS)
        usable_device(recipe.device)
        return recipe.device, recipe.threads

    def training(self, recipe: Recipe) -> DeclaredTraining:
        """The declared training on this device."""
        return DeclaredTraining(recipe, self.data(recipe), self.place(recipe)[0])

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Restore torch's number of threads after the block."""
        before = torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_num_threads(before)


def environment_on(device: str) -> dict[str, str]:
    """Versions and the device's model."""
    return {**versions(), "device": device_name(device)}
