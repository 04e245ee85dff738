"""The update rule: one training step, shared by the honest prover, the verifier's replay and the attacks.

There is one implementation on purpose. An exact replay on the same machine then gives reproduction error exactly 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raypol.core.arithmetic.precision import (
    WEIGHT_DTYPES,
    Precision,
    arithmetic,
    cast,
    check_device,
    is_inexact,
    rehearsed_precision,
    usable_device,
)
from raypol.core.augment import apply_draws, augment, draw_augmentation, normalise, to_unit
from raypol.core.clock import Stopwatch
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.models.rehearsal import MEMORY_FORMATS, Rehearsal, rehearse
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.seeds import derive_seed, generator
from raypol.core.training.optimizers import (
    build_optimizer,
    learning_rates,
    reach_of_state,
    state_after_a_step,
    tensor_by_tensor,
    update,
)
from raypol.core.training.snapshots import checkpoint_of, pack_tensors, packed_layout, unpack_tensors

_MAX_TEST_POINTS: Final = 1000
_TEST_BATCH: Final = 250
# Batches prepared at once: enough to spread the cost of tiny operations, few enough to stay in a core's cache; a GPU has none
# to stay in.
_PREPARED_BYTES: Final = 2 << 20
_PREPARED_BYTES_CUDA: Final = 64 << 20
_GATHERED_BYTES: Final = 256 << 20
"""Bytes of an interval's points that are gathered at once, whatever k is."""


class Trainer:
    """A model, its optimizer and its schedule on a device: load a state, make steps, read the state."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        device: torch.device | str = "cpu",
        *,
        precision: Precision | None = None,
    ) -> None:
        """Build the declared model and optimizer.

        Args:
            recipe: A of the proof.
            dataset: the public dataset; moved to `device`.
            device: where to compute.
            precision: None = the recipe's; float64 as a replay condition has almost no rounding noise.

        Raises:
            InputError: the recipe declares something that does not exist, or the device is not there or does not compute so.
        """
        self.recipe = recipe
        self.device = usable_device(device)
        self.precision = precision or recipe.precision
        check_device(self.precision, self.device)
        self.dtype = WEIGHT_DTYPES[self.precision]
        self.dataset = dataset.to(self.device)
        self.lrs = learning_rates(recipe)
        self._peak_lrs = np.maximum.accumulate(self.lrs[::-1])[::-1]
        self.gradient_evals = 0
        self.forward_passes = 0
        self.stopwatch = Stopwatch(self.device)
        channels = dataset.image_shape[0]
        if recipe.transform.mean and len(recipe.transform.mean) != channels:
            raise InputError(f"expected a transform for {channels} channels, got mean {recipe.transform.mean}")
        if self.device.type == "cuda":
            torch.backends.cudnn.deterministic = True  # a replay on the same GPU repeats every bit
        self.memory_format = MEMORY_FORMATS[recipe.channels_last]
        rehearse(rehearsal_of(recipe, dataset, self.precision))
        model = cast(self.fresh_model(), self.precision)
        # Index tables and masks (of attention: -inf) are part of the model: a forged one would send its lookups anywhere.
        self.tables = {
            name: b.clone()
            for name, b in model.named_buffers()
            if (b.isinf().any() if is_inexact(b) else b.numel() > 1)
        }
        self.model = model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.parameters = dict(self.model.named_parameters())
        is_plain = self.precision == "reproducible"
        self._declared_update = tensor_by_tensor(recipe.optimizer) if is_plain else recipe.optimizer
        self.optimizer = build_optimizer(self._declared_update, list(self.parameters.values()))
        self._has_first_state = bool(
            self.optimizer.state
        )  # Adagrad's constructor makes one; older torch cannot step without
        if is_plain:  # a rule that has no such form is refused before anything is started
            with self.whole_arithmetic():
                _ = self._state_places

    @cached_property
    def _state_places(self) -> dict[str, tuple[torch.device, torch.dtype]]:
        """Device and dtype of each entry of the state, for torch keeps a step counter elsewhere than a moment."""
        tiny = {
            name: nn.Parameter(torch.zeros([1] * p.dim(), dtype=self.dtype, device=self.device))
            for name, p in self.parameters.items()
        }
        state = state_after_a_step(self._declared_update, tiny)
        return {name: (value.device, value.dtype) for name, value in state.items()}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The model's buffers; looked up each time, because a model may replace them."""
        return dict(self.model.named_buffers())

    # --- state -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Set weights, buffers and optimizer state; the checkpoint must have passed the structure check."""
        for name, parameter in self.parameters.items():
            parameter.copy_(checkpoint.parameters[name])
        for name, buffer in self.buffers.items():
            buffer.copy_(checkpoint.buffers[name])
        self.optimizer.state.clear()
        if self._has_first_state and not checkpoint.optimizer_state:
            again = build_optimizer(self._declared_update, list(self.parameters.values()))
            self.optimizer.state.update(again.state)
        for name, tensor in checkpoint.optimizer_state.items():
            parameter_name, _, key = name.rpartition("/")
            parameter = self.parameters[parameter_name]
            value = tensor.to(*self._state_places.get(name, (self.device, tensor.dtype)))
            if value.shape == parameter.shape and value.dim() == 4:
                value = value.contiguous(memory_format=self.memory_format)
            self.optimizer.state[parameter][key] = value.clone() if value is tensor else value

    def state(self) -> dict[str, Tensor]:
        """The current state's own tensors, on their devices, by qualified name (parameter/..., buffer/..., optimizer/...).

        Raises:
            InputError: the optimizer keeps something other than tensors in its state.
        """
        tensors = {f"parameter/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"buffer/{name}": b.detach() for name, b in self.buffers.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{name}/{key}"] = value.detach()
                elif value is not None:
                    raise InputError(
                        f"optimizer {self.recipe.optimizer.name} keeps a {type(value).__name__} in its state; "
                        "only tensors can be recorded"
                    )
        return tensors

    @torch.no_grad()
    def snapshot(self, step: int) -> Checkpoint:
        """A copy of the current state on the CPU, row-major, in the trainer's dtype."""
        tensors = self.state()
        if self.device.type == "cuda":  # one transfer instead of hundreds
            on_device = {name: t for name, t in tensors.items() if t.device.type == "cuda"}
            slots, total = packed_layout(on_device)
            packed = torch.empty(total, dtype=torch.uint8, device=self.device)
            pack_tensors(on_device, slots, packed)
            tensors |= unpack_tensors(packed.cpu(), slots)
            return checkpoint_of(step, {n: _copy(t) if n not in on_device else t for n, t in tensors.items()})
        return checkpoint_of(step, {name: _copy(t) for name, t in tensors.items()})

    def fresh_model(self) -> nn.Module:
        """The declared model as its constructor leaves it, on the CPU."""
        return build_model(
            self.recipe.model, in_channels=self.dataset.image_shape[0], num_classes=self.dataset.num_classes
        )

    # --- batches ---------------------------------------------------------------------------------------------------

    def inputs(self, pixels: Tensor, step: int, *, augmentation_seed: int | None = None) -> Tensor:
        """The model's input for stored pixels: augmentation of this step, then normalisation.

        Args:
            pixels: (B, C, H, W) uint8 or float in [0, 1], on the trainer's device.
            step: decides the augmentation.
            augmentation_seed: None = the recorded one; another value re-draws all crops and flips.
        """
        transform = self.recipe.transform
        if transform.is_random:
            seed = self.recipe.seed if augmentation_seed is None else augmentation_seed
            pixels = augment(pixels, transform, generator(seed, "augmentation", step))
        return self._normalised(pixels)

    def _normalised(self, pixels: Tensor) -> Tensor:
        with self.whole_arithmetic():
            unit = normalise(to_unit(pixels, self.dtype), self.recipe.transform)
        return unit.contiguous(memory_format=self.memory_format)

    def inputs_of_steps(
        self, pixels_nBCHW: Tensor, start: int, *, augmentation_seed: int | None = None
    ) -> Iterator[Tensor]:
        """The model's inputs for the batches of steps start, start + 1, ...: the same as `inputs` step by step.

        Several steps are prepared at once: on a small model the dozen tiny operations of a batch cost 6 % of its step.
        """
        transform = self.recipe.transform
        seed = self.recipe.seed if augmentation_seed is None else augmentation_seed
        n, B = pixels_nBCHW.shape[:2]
        room = _PREPARED_BYTES_CUDA if self.device.type == "cuda" else _PREPARED_BYTES
        at_once = max(room // (pixels_nBCHW[0].numel() * 4), 1) if n else 1
        for first in range(0, n, at_once):
            pixels = pixels_nBCHW[first : first + at_once].flatten(0, 1)
            if transform.is_random:
                steps = range(start + first, start + min(first + at_once, n))
                draws = [draw_augmentation(transform, B, generator(seed, "augmentation", step)) for step in steps]
                pixels = apply_draws(pixels, transform, torch.cat(draws, dim=1))
            yield from torch.split(self._normalised(pixels), B)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The declared loss of one batch, a scalar, differentiable."""
        with self.whole_arithmetic():
            return F.cross_entropy(self.logits(inputs), labels)

    def logits(self, inputs: Tensor) -> Tensor:
        """(B, num_classes): the model's output, computed in the trainer's precision, in its dtype."""
        with arithmetic(self.precision, self.device):
            output: Tensor = self.model(inputs)
        return output.to(self.dtype)

    def whole_arithmetic(self) -> AbstractContextManager[object]:
        """Inside, all of a step is computed in the trainer's precision; only `reproducible` reaches beyond the forward pass."""
        return arithmetic(self.precision, self.device) if self.precision == "reproducible" else nullcontext()

    # --- the update rule -------------------------------------------------------------------------------------------

    def step(self, step: int, pixels: Tensor, labels: Tensor, *, augmentation_seed: int | None = None) -> Tensor:
        """One declared update on one batch; returns the loss before it, detached, still on the device."""
        return self._update(step, self.inputs(pixels, step, augmentation_seed=augmentation_seed), labels)

    def run(
        self, start: int, pixels_nBCHW: Tensor, labels_nB: Tensor, *, augmentation_seed: int | None = None
    ) -> list[Tensor]:
        """The declared updates of steps start, start + 1, ...; returns their losses as `step` does."""
        inputs = self.inputs_of_steps(pixels_nBCHW, start, augmentation_seed=augmentation_seed)
        return [
            self._update(start + i, batch, labels)
            for i, (batch, labels) in enumerate(zip(inputs, labels_nB, strict=True))
        ]

    def _update(self, step: int, inputs: Tensor, labels: Tensor) -> Tensor:
        self.seed_draws("dropout", step)
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.lrs[step])
        self.optimizer.zero_grad(set_to_none=True)
        with self.whole_arithmetic():
            loss = self.loss(inputs, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            update(self.optimizer)
        self.gradient_evals += 1
        return loss.detach()

    @torch.no_grad()
    def record_statistics(self, step: int, pixels: Tensor) -> None:
        """What a step's forward pass leaves in the norm layers at the current weights; nothing is differentiated."""
        self.seed_draws("dropout", step)
        self.logits(self.inputs(pixels, step))
        self.forward_passes += 1

    @torch.no_grad()
    def idle(self, num_steps: int) -> None:
        """Updates with gradients of zero, of all but frozen parameters: what the state does by itself."""
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        with self.whole_arithmetic():
            for _ in range(num_steps):
                update(self.optimizer)

    def seed_draws(self, what: str, step: int) -> None:
        """Make the model's random draws at this step repeatable, on the one device that draws them.

        `torch.manual_seed` would do, but it visits every backend: 2 % of a small model's step.
        """
        seed = derive_seed(self.recipe.seed, what, step)
        if self.device.type == "cuda" and self.precision != "reproducible":  # which draws on the CPU
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Inside, neither time nor work is counted."""
        counted = self.gradient_evals, self.forward_passes
        with self.stopwatch.pause():
            yield
        self.gradient_evals, self.forward_passes = counted

    def gradients(self) -> dict[str, Tensor]:
        """Copies of the latest step's gradients, of the parameters that have one."""
        return {name: p.grad.detach().clone() for name, p in self.parameters.items() if p.grad is not None}

    @torch.no_grad()
    def drift(self, checkpoint: Checkpoint, num_steps: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Where the optimizer's state would carry the weights in all steps to come, were all gradients these.

        This expresses an optimizer state, whatever its kind, in the unit of the weights, so that a recorded and a
        replayed state can be compared under the thresholds of the weights. It is `num_steps` updates at the largest rate
        to come, scaled in closed form to the declared rates of all steps that remain: a momentum of 0.9 has spent a tenth
        of its force after one step, and a forged one could wait through an interval with next to no rate.
        """
        self.load(checkpoint)
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name].clone() if name in gradients else None
        rate = float(self._peak_lrs[min(checkpoint.step, len(self.lrs) - 1)])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for _ in range(num_steps):
            update(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        reach = reach_of_state(self.optimizer, self.lrs[checkpoint.step :], num_steps, rate)
        return {
            name: _copy(start + (p - start) * reach)
            for name, p in self.parameters.items()
            for start in (checkpoint.parameters[name].to(p),)
        }

    @torch.no_grad()
    def accuracy(self, checkpoint: Checkpoint) -> float:
        """Share of test points that the recorded model gets right, in [0, 1], with its recorded norm statistics.

        Measured on the first 1,000 test points: a proof has many models, and this must not cost more than replaying.
        """
        self.load(checkpoint)
        right = 0
        asked = min(len(self.dataset.test_labels), _MAX_TEST_POINTS)
        with self.evaluating():
            for start in range(0, asked, _TEST_BATCH):
                pixels = self.dataset.test_pixels[start : min(start + _TEST_BATCH, asked)]
                labels = self.dataset.test_labels[start : start + len(pixels)]
                right += int((self.logits(self._normalised(pixels)).argmax(1) == labels).sum())
        return right / asked

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside: recorded norm statistics, no dropout. One point has no batch to take statistics of."""
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def rehearsal_of(recipe: Recipe, dataset: Dataset, precision: Precision) -> Rehearsal:
    """What a training, or a replay in this precision, will ask of the model."""
    return Rehearsal(
        model=recipe.model,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        batch_size=recipe.batch_size,
        transform=recipe.transform,
        precision=rehearsed_precision(precision),
        channels_last=recipe.channels_last,
    )


def steps_at_once(num_steps: int, bytes_per_step: int) -> Iterator[range]:
    """Split 0..num_steps-1 into parts whose points are gathered at once, so that memory does not grow with k."""
    part = max(_GATHERED_BYTES // max(bytes_per_step, 1), 1)
    return (range(first, min(first + part, num_steps)) for first in range(0, num_steps, part))


def state_template(trainer: Trainer) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and dtype of every entry that the declared optimizer's state has after a step, by "parameter/key"."""
    declared = WEIGHT_DTYPES[trainer.recipe.precision]  # a replay may compute in another precision than it compares in
    parameters = {
        name: nn.Parameter(torch.zeros_like(p, device="cpu", dtype=declared)) for name, p in trainer.parameters.items()
    }
    state = state_after_a_step(trainer.recipe.optimizer, parameters)
    return {name: (value.shape, value.dtype) for name, value in state.items()}


def mean_loss(losses: Sequence[Tensor]) -> float:
    """Mean of a run of losses, NaN or infinite if any is; one synchronisation with the device."""
    return float(torch.stack(list(losses)).double().mean()) if losses else math.nan


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
