"""scikit-learn's handwritten digits: 1,797 real 8x8 images, bundled, offline."""

from pathlib import Path

import numpy as np
import torch

from raypol.core.datasets.parts import Parts
from raypol.core.progress import Progress
from raypol.core.seeds import generator


def load(folder: Path | None, on_progress: Progress) -> Parts:
    """Grey levels 0..16 stored as 0..255; a fixed fifth is the test set."""
    del folder, on_progress  # bundled with scikit-learn
    from sklearn.datasets import load_digits  # half a second of import, for this dataset only

    bunch = load_digits()
    pixels = torch.from_numpy((bunch.images * (255.0 / 16.0)).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    order = torch.randperm(len(labels), generator=generator(0, "digits", "split"))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    return Parts(
        pixels=pixels[train].contiguous(),
        labels=labels[train].contiguous(),
        test_pixels=pixels[test].contiguous(),
        test_labels=labels[test].contiguous(),
        num_classes=10,
    )
