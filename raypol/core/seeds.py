"""Seeds of all random draws, derived from one root seed and the names of what is drawn.

Two draws never share a stream, and a draw can be repeated alone, in any process, in any order: step 731 needs no
replay of steps 0 to 730. All draws are made on the CPU, so they do not depend on the device that uses them.
"""

import hashlib

import torch


def derive_seed(root: int, *names: str | int) -> int:
    """Seed in [0, 2^63) for the stream `names` under `root`; SHA-256 of the path, so streams are unrelated."""
    # int(): a numpy integer prints differently and would name another stream.
    path = repr((int(root), *(name if isinstance(name, str) else int(name) for name in names))).encode()
    return int.from_bytes(hashlib.sha256(path).digest()[:8], "little") >> 1


def generator(root: int, *names: str | int) -> torch.Generator:
    """CPU generator seeded for the stream `names` under `root`."""
    return torch.Generator().manual_seed(derive_seed(root, *names))
