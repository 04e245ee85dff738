"""What the published prover and verifier do with a folder, in plain torch and apart from raypol's own reader and writer."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from raypol.core.datasets.dataset import Dataset
from raypol.core.models import build_model


def net_of(name: str, dataset: Dataset) -> nn.Module:
    """The model that whoever runs the published code has."""
    return build_model(name, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)


def sgd(net: nn.Module, lr: float = 0.05, momentum: float = 0.9) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, weight_decay=1e-4)


def steps(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    dataset: Dataset,
    rows: npt.NDArray[Any],
) -> None:
    """The published loop: pixels in [0, 1], no augmentation."""
    net.train()
    for row in rows:
        where = torch.from_numpy(row.astype(np.int64))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(dataset.pixels[where].float() / 255.0), dataset.labels[where])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def prove(
    folder: Path,
    dataset: Dataset,
    *,
    model: str,
    total: int = 7,
    interval: int = 3,
    batch: int = 8,
    optimizer: Any = sgd,  # noqa: ANN401 - a function from a net to its optimizer
    milestones: tuple[int, ...] | None = (2, 5),
    prefix: str = "",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """An honest run recorded as the published prover does; returns the net's state at each checkpoint."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = net_of(model, dataset)
        for module in net.modules():
            fresh = getattr(module, "reset_parameters", None)
            if fresh is not None:
                fresh()
    rule = optimizer(net)
    scheduler = None
    if milestones is not None:
        scheduler = torch.optim.lr_scheduler.MultiStepLR(rule, milestones=[*milestones], gamma=0.1)
    rows = np.random.default_rng(seed).integers(0, len(dataset), (total, batch))
    np.save(folder / "indices.npy", rows)
    (folder / "hash.txt").write_text("0" * 64)
    kept = []
    for step in [*range(0, total, interval), total]:
        state: dict[str, Any] = {
            "net": {prefix + name: value for name, value in net.state_dict().items()} if prefix else net.state_dict(),
            "optimizer": rule.state_dict(),
        }
        if scheduler is not None:
            state["scheduler"] = scheduler.state_dict()
        torch.save(state, folder / f"model_step_{step}")
        kept.append({name: value.clone() for name, value in net.state_dict().items()})
        steps(net, rule, scheduler, dataset, rows[step : min(step + interval, total)])
    return kept


def verify(folder: Path, dataset: Dataset, *, model: str, interval: int) -> list[float]:
    """Largest absolute error of each interval, as the published verifier reproduces them from the files alone."""
    rows = np.load(folder / "indices.npy")
    errors = []
    for start in range(0, len(rows), interval):
        stop = min(start + interval, len(rows))
        net = net_of(model, dataset)
        optimizer = torch.optim.SGD(net.parameters(), lr=123.0, momentum=0.9, weight_decay=1e-4)
        scheduler: Any = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[10**6], gamma=0.5)
        state = torch.load(folder / f"model_step_{start}")
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        if "scheduler" in state:
            scheduler.load_state_dict(state["scheduler"])
        else:
            scheduler = None
        steps(net, optimizer, scheduler, dataset, rows[start:stop])
        claimed = torch.load(folder / f"model_step_{stop}")["net"]
        moved = [float((p.detach() - claimed[name]).abs().max()) for name, p in net.named_parameters()]
        errors.append(max(moved))
    return errors
