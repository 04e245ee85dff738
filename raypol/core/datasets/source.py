"""Where a dataset comes from: its name, and the folder of its files."""

from dataclasses import dataclass, replace

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import local_path
from raypol.core.progress import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """Which public dataset, and where its files lie."""

    name: str
    folder: str | None = None
    """Absolute: a worker's current folder may be another."""

    def __post_init__(self) -> None:
        if self.folder is not None:
            object.__setattr__(self, "folder", str(local_path(self.folder)))

    def load(self, on_progress: Progress | None = None) -> Dataset:
        """Load the dataset, once per process; files that are prepared for the first time show their progress."""
        return load_dataset(self.name, self.folder, on_progress=on_progress)

    def or_named(self, name: str) -> "DataSource":
        """The dataset of this name, its files in the same folder; this one if the name is empty."""
        return replace(self, name=name) if name else self
