r"""What reproducible arithmetic costs: `python -m benchmarks.reproducible [--quick]`.

1. Processor time per step over that of ordinary float32 on one thread, digits with resnet8 and 32x32x3 Fashion-MNIST with
   resnet20: the two in turn, in this process.
2. Where that time goes, by kind of operation.
3. The published way, as an estimate: float64 arithmetic, each module's output and gradient rounded to float32, and a log of how
   values near a tie were rounded (Srivastava et al. 2024, arXiv:2403.09603): its time per step, and bytes of its log. Finding
   the near ties is timed, packing and writing the log are not.
4. Bits after some steps on one thread against two.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from benchmarks.ratios import HEADING, Ratio, at_most
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer

NEAR_TIE = 2.0**-8
"""Distance from a rounding's tie, in units in float32's last place, below which a rounding is logged: our choice, far above what
two machines' float64 results differ by. It decides the number of entries, not the size of the published log."""
VALUES_PER_BYTE = 5
"""Of the published log, which says up, down or nothing of every value, in base 3."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure it."""

    repeats: int = 5
    """Rounds of steps in turn."""
    bits_after: int = 100
    """Steps on one thread and on two that are compared; 0 = none."""
    quick: bool = False
    """Digits alone."""


@dataclass(frozen=True)
class Task:
    """What is trained, and how many steps a round has."""

    dataset: str
    model: str
    steps: int


TASKS = (Task("digits", "resnet8", 20), Task("fashion_mnist_32x32x3", "resnet20", 3))


class Run:
    """A trainer with its batches, at W_0."""

    def __init__(self, task: Task, precision: str, rounded: bool = False) -> None:
        self.data = _data(task.dataset)
        config = TrainConfig(dataset=task.dataset, model=task.model, steps=100, precision=precision)  # type: ignore[arg-type]
        recipe = config.recipe(self.data, device="cpu", threads=1)
        self.trainer = Trainer(recipe, self.data)
        self.trainer.load(initial_checkpoint(recipe, self.data))
        self.indices = torch.from_numpy(data_order(recipe, self.data).block(0, 100))
        self.step = 0
        self.log = RoundingLog(self.trainer.model) if rounded else None

    def steps(self, num: int) -> float:
        """Seconds of this process per step of the next ones: waiting for a busy machine does not count."""
        started = time.process_time()
        for _ in range(num):
            where = self.indices[self.step % 100]
            self.trainer.step(self.step % 100, self.data.pixels[where], self.data.labels[where])
            self.step += 1
        return (time.process_time() - started) / num

    def digest(self) -> str:
        """SHA-256 of every bit of the state."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.trainer.snapshot(0).tensors().items()):
            found.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return found.hexdigest()


class RoundingLog:
    """Rounds the output and the gradient of every module without children to float32, and counts what is near a tie."""

    def __init__(self, model: nn.Module) -> None:
        self.values = self.near = 0
        for module in model.modules():
            if not list(module.children()):
                module.register_forward_hook(lambda _m, _i, out: _Rounded.apply(out, self))

    def rounded(self, x: Tensor) -> Tensor:
        """Return x in float32's values; the values whose rounding another machine may turn are counted."""
        single = x.float()
        back = single.double()
        ulp = torch.nextafter(single.abs(), torch.full_like(single, torch.inf)).double() - back.abs()
        self.near += int(((x - back).abs() > (0.5 - NEAR_TIE) * ulp).sum())
        self.values += x.numel()
        return back


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, log: RoundingLog) -> Tensor:  # noqa: ANN401 - torch's context
        ctx.log = log
        return log.rounded(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch's context
        return ctx.log.rounded(grads[0]), None


def measured(task: Task, repeats: int) -> Iterator[Ratio | str]:
    """Times of the three arithmetics in turn, the log's size, and the split."""
    plain, exact, logged = Run(task, "float32"), Run(task, "reproducible"), Run(task, "float64", rounded=True)
    for run in (plain, exact, logged):
        run.steps(2)
    assert logged.log is not None
    logged.log.values = logged.log.near = 0
    times: dict[str, list[float]] = {"plain": [], "exact": [], "logged": []}
    for _ in range(repeats):
        times["plain"].append(plain.steps(task.steps))
        times["exact"].append(exact.steps(task.steps))
        times["logged"].append(logged.steps(max(task.steps // 2, 1)))
    name = f"{task.dataset}, {task.model}"
    yield f"{name}: ms per step: " + ", ".join(f"{key} {min(found) * 1e3:.1f}" for key, found in times.items())
    ratios = {key: [a / b for a, b in zip(times[key], times["plain"], strict=True)] for key in ("exact", "logged")}
    yield Ratio(f"{name}: reproducible / float32", ratios["exact"], "<= 8", at_most(8.0))
    yield Ratio(f"{name}: float64, rounded, logged / float32", ratios["logged"])
    num = repeats * max(task.steps // 2, 1)
    values, near = logged.log.values // num, logged.log.near // num
    yield (
        f"{name}: the log: {values} values per step, {near} of them within {NEAR_TIE} of a tie: {values // VALUES_PER_BYTE} "
        f"bytes per step, {VALUES_PER_BYTE} values a byte, or {near * 4} as positions of 4 bytes; reproducible: 0"
    )
    yield f"{name}: of a reproducible step: {split(exact, task.steps)}"


KINDS = {
    "matrix products": ("mm", "bmm", "baddbmm_", "addmm", "matmul"),
    "windows, copies, conversions": ("copy_", "_to_copy", "to", "clone", "contiguous", "fill_", "zero_"),
    "common units": ("amax", "amin", "neg_", "maximum", "__rshift__", "bitwise_and", "bitwise_right_shift", "clamp_"),
    "sums": ("sum",),
}
"""Of torch's operations, by what reproducible arithmetic uses them for."""


def split(run: Run, steps: int) -> str:
    """Shares of the time of a step by kind of operation, from torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        started = time.perf_counter()
        run.steps(steps)
        whole_us = (time.perf_counter() - started) * 1e6
    spent: Counter[str] = Counter()
    for event in profile.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next(
            (kind for kind, names in KINDS.items() if name in names), "additions and products of single numbers"
        )
        if event.key.startswith("aten::"):
            spent[kind] += event.self_cpu_time_total
    parts = ", ".join(f"{kind} {us / whole_us:.0%}" for kind, us in spent.most_common())
    return f"{parts}, Python {1 - sum(spent.values()) / whole_us:.0%} (under a profiler)"


def same_bits(task: Task, steps: int) -> str:
    """Whether one thread and two give the same state."""
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run = Run(task, "reproducible")
        run.steps(steps)
        found.append(run.digest())
    torch.set_num_threads(1)
    equal = "equal in every bit" if found[0] == found[1] else "DIFFERENT"
    return f"{task.dataset}, {task.model}: state after {steps} steps on one thread and on two: {equal}"


_loaded: dict[str, Dataset] = {}


def _data(name: str) -> Dataset:
    if name not in _loaded:
        _loaded[name] = load_dataset(name)
    return _loaded[name]


def main() -> None:
    """Entry point."""
    torch.set_num_threads(1)
    options = tyro.cli(Options, description=__doc__)
    print(HEADING)
    for task in TASKS[: 1 if options.quick else None]:
        for found in measured(task, options.repeats):
            print(found if isinstance(found, str) else found.line(), flush=True)
        if options.bits_after:
            print(same_bits(task, options.bits_after), flush=True)


if __name__ == "__main__":
    main()
