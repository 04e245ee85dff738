"""Where a dataset comes from: its name, and the folder of its files."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.progress import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """Which public dataset, and where its files lie."""

    name: str
    folder: str | None = None
    """Absolute: a worker's current folder may be another."""

    def __post_init__(self) -> None:
        if self.folder is not None:
            object.__setattr__(self, "folder", str(Path(self.folder).expanduser().absolute()))

    def load(self, on_progress: Progress | None = None) -> Dataset:
        """The dataset; read once per process. Files that are prepared for the first time show their progress."""
        return _load(_Watched(self, on_progress))

    def or_named(self, name: str) -> "DataSource":
        """The dataset of this name, its files in the same folder; this one if the name is empty."""
        return replace(self, name=name) if name else self


@dataclass(frozen=True, slots=True)
class _Watched:
    source: DataSource
    on_progress: Progress | None = field(compare=False)


@lru_cache(maxsize=2)
def _load(watched: _Watched) -> Dataset:
    return load_dataset(watched.source.name, watched.source.folder, on_progress=watched.on_progress)
