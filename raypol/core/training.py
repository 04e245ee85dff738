"""The update rule: one training step, shared by the honest prover, the verifier's replay and the attacks.

There is one implementation on purpose. An exact replay on the same machine then gives reproduction error exactly 0.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raypol.core.augment import augment, normalise, to_unit
from raypol.core.data import Dataset
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.proof import DTYPES, Checkpoint, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.seeds import derive_seed, generator

# Optimizers whose step needs a closure or sparse gradients cannot replay from (state, gradient).
_UNUSABLE_OPTIMIZERS: Final = {"Optimizer", "LBFGS", "SparseAdam"}
_UNUSABLE_SCHEDULERS: Final = {"LRScheduler", "ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"}


def build_optimizer(config: OptimizerConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The declared optimizer.

    Raises:
        InputError: not in torch.optim, or options that it does not take.
    """
    possible = {
        name: cls
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name not in _UNUSABLE_OPTIMIZERS
    }
    if config.name not in possible:
        raise InputError(f"unknown optimizer {config.name!r}; possible: {', '.join(sorted(possible))}")
    lr = config.options.get("lr")
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not (0.0 <= lr < math.inf):
        raise InputError(f"optimizer {config.name}: expected an option lr, a finite number >= 0, got {lr!r}")
    try:
        return possible[config.name](parameters, **config.options)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as err:
        raise InputError(f"optimizer {config.name} does not take {dict(config.options)}: {err}") from err


def learning_rates(recipe: Recipe) -> npt.NDArray[np.float64]:
    """(T,) learning rate of every step, taken from torch's own scheduler; a stretched schedule is resampled.

    Raises:
        InputError: unknown scheduler, bad options, or a scheduler that changes more than the learning rate.
    """
    schedule = recipe.schedule
    if schedule.base_steps > 0:
        base = replace(recipe, steps=schedule.base_steps, interval=1, schedule=replace(schedule, base_steps=0))
        positions = np.arange(recipe.steps, dtype=np.int64) * schedule.base_steps // recipe.steps
        return learning_rates(base)[positions]
    if schedule.name == "constant":
        return np.full(recipe.steps, recipe.optimizer.lr)
    return _scheduled(recipe.optimizer, schedule, recipe.steps)


def _scheduled(optimizer_config: OptimizerConfig, schedule: ScheduleConfig, steps: int) -> npt.NDArray[np.float64]:
    schedulers = torch.optim.lr_scheduler
    possible = {
        name: cls
        for name, cls in vars(schedulers).items()
        if isinstance(cls, type) and issubclass(cls, schedulers.LRScheduler) and name not in _UNUSABLE_SCHEDULERS
    }
    if schedule.name not in possible:
        raise InputError(f"unknown schedule {schedule.name!r}; possible: constant, {', '.join(sorted(possible))}")
    optimizer = build_optimizer(optimizer_config, [nn.Parameter(torch.zeros(1))])
    group = optimizer.param_groups[0]
    try:
        scheduler = possible[schedule.name](optimizer, **schedule.options)  # type: ignore[arg-type]
        fixed = {key: group[key] for key in group if key not in {"lr", "initial_lr", "params"}}
        rates = np.empty(steps)
        for step in range(steps):
            rates[step] = group["lr"]
            optimizer.step()
            scheduler.step()
    except (TypeError, ValueError, ZeroDivisionError) as err:
        raise InputError(f"schedule {schedule.name} does not take {dict(schedule.options)}: {err}") from err
    if any(group[key] != value for key, value in fixed.items()):
        raise InputError(f"schedule {schedule.name} changes more than the learning rate; that is not supported")
    return rates


class Trainer:
    """A model, its optimizer and its schedule on a device: load a state, make steps, read the state."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, device: torch.device | str = "cpu", *, precision: str | None = None
    ) -> None:
        """Build the declared model and optimizer.

        Args:
            recipe: A of the proof.
            dataset: the public dataset; moved to `device`.
            device: where to compute.
            precision: None = the recipe's; float64 as a replay condition has almost no rounding noise.
        """
        self.recipe = recipe
        self.device = torch.device(device)
        self.dtype = DTYPES[precision or recipe.precision]  # type: ignore[index]
        self.dataset = dataset.to(self.device)
        self.lrs = learning_rates(recipe)
        self.gradient_evals = 0
        self._memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model = build_model(recipe.model, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)
        self.model = model.to(self.device, self.dtype, memory_format=self._memory_format).train()  # type: ignore[call-overload]
        self.parameters = dict(self.model.named_parameters())
        self.buffers = dict(self.model.named_buffers())
        self.optimizer = build_optimizer(recipe.optimizer, list(self.parameters.values()))

    # --- state -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Set weights, buffers and optimizer state; the checkpoint must have passed the structure check."""
        for name, parameter in self.parameters.items():
            parameter.copy_(checkpoint.parameters[name])
        for name, buffer in self.buffers.items():
            buffer.copy_(checkpoint.buffers[name])
        self.optimizer.state.clear()
        for name, tensor in checkpoint.optimizer_state.items():
            parameter_name, _, key = name.rpartition("/")
            parameter = self.parameters[parameter_name]
            on_device = self.device if tensor.dim() > 0 else "cpu"  # step counters stay where torch keeps them
            value = tensor.to(on_device, self.dtype if tensor.is_floating_point() and tensor.dim() > 0 else None)
            if value.shape == parameter.shape and value.dim() == 4:
                value = value.contiguous(memory_format=self._memory_format)
            self.optimizer.state[parameter][key] = value.clone() if value is tensor else value

    @torch.no_grad()
    def snapshot(self, step: int) -> Checkpoint:
        """A copy of the current state on the CPU, row-major, in the recipe's own precision."""
        state = {}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    state[f"{name}/{key}"] = _copy(value)
                elif value is not None:
                    raise InputError(
                        f"optimizer {self.recipe.optimizer.name} keeps a {type(value).__name__} in its state; "
                        "only tensors can be recorded"
                    )
        return Checkpoint(
            step=step,
            parameters={name: _copy(p) for name, p in self.parameters.items()},
            buffers={name: _copy(b) for name, b in self.buffers.items()},
            optimizer_state=state,
        )

    def fresh_buffers(self) -> dict[str, Tensor]:
        """The buffers of a model that has seen no data."""
        model = build_model(
            self.recipe.model, in_channels=self.dataset.image_shape[0], num_classes=self.dataset.num_classes
        )
        return {name: buffer.detach().clone() for name, buffer in model.named_buffers()}

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
        unit = normalise(to_unit(pixels, self.dtype), transform)
        return unit.contiguous(memory_format=self._memory_format)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The declared loss of one batch, a scalar, differentiable."""
        return F.cross_entropy(self.model(inputs), labels)

    # --- the update rule -------------------------------------------------------------------------------------------

    def step(self, step: int, pixels: Tensor, labels: Tensor, *, augmentation_seed: int | None = None) -> Tensor:
        """One declared update on one batch; returns the loss before it, detached, still on the device."""
        torch.manual_seed(derive_seed(self.recipe.seed, "dropout", step))
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.lrs[step])
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.inputs(pixels, step, augmentation_seed=augmentation_seed), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.gradient_evals += 1
        return loss.detach()

    @torch.no_grad()
    def drift(self, checkpoint: Checkpoint, num_steps: int) -> dict[str, Tensor]:
        """Where the optimizer's state alone would carry the weights: `num_steps` updates with zero gradient.

        This expresses an optimizer state, whatever its kind, in the unit of the weights, so that a recorded and a
        replayed state can be compared under the thresholds of the weights.
        """
        self.load(checkpoint)
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        for step in range(checkpoint.step, checkpoint.step + num_steps):
            for group in self.optimizer.param_groups:
                group["lr"] = float(self.lrs[min(step, len(self.lrs) - 1)])
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {name: _copy(p) for name, p in self.parameters.items()}

    @torch.no_grad()
    def accuracy(self, checkpoint: Checkpoint) -> float:
        """Share of the test set that the recorded model gets right, in [0, 1], with its recorded norm statistics."""
        self.load(checkpoint)
        self.model.eval()
        transform = self.recipe.transform
        right = 0
        for start in range(0, len(self.dataset.test_labels), 1000):
            pixels = self.dataset.test_pixels[start : start + 1000]
            inputs = normalise(to_unit(pixels, self.dtype), transform).contiguous(memory_format=self._memory_format)
            right += int((self.model(inputs).argmax(1) == self.dataset.test_labels[start : start + 1000]).sum())
        self.model.train()
        return right / len(self.dataset.test_labels)


def state_template(trainer: Trainer) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and dtype of every entry that the declared optimizer's state has after a step, by "parameter/key"."""
    parameters = {name: nn.Parameter(torch.zeros_like(p, device="cpu")) for name, p in trainer.parameters.items()}
    optimizer = build_optimizer(trainer.recipe.optimizer, list(parameters.values()))
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {
        f"{name}/{key}": (value.shape, value.dtype)
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def mean_loss(losses: Sequence[Tensor]) -> float:
    """Mean of a run of losses, NaN or infinite if any is; one synchronisation with the device."""
    return float(torch.stack(list(losses)).double().mean()) if losses else math.nan


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
