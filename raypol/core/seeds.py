"""Seeds of all random draws, derived from one root seed and the names of what is drawn.

Two draws never share a stream, and a draw can be repeated alone, in any process, in any order: step 731 needs no
replay of steps 0 to 730. All draws are made on the CPU, so they do not depend on the device that uses them.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import torch

from raypol.core.errors import InputError, check_whole
from raypol.core.hashing import check_sha256

MAX_SEED: Final = 2**63 - 1
"""The largest that a column of whole numbers holds."""
_32_BITS: Final = 32


def check_seed(seed: object, name: str = "seed") -> None:
    """Raise the InputError for anything but a whole number in 0..2^63-1."""
    check_whole(name, seed, 0, MAX_SEED)


def seed_of_32_bits(seed: int) -> int:
    """The seed itself where it has at most 32 bits, which is all that some libraries take; else one derived from it."""
    return seed if seed < 1 << _32_BITS else derive_seed(seed, "32 bits") >> (63 - _32_BITS)


def derive_seed(root: int, *names: str | int) -> int:
    """Seed in [0, 2^63) for the stream `names` under `root`; SHA-256 of the path, so streams are unrelated."""
    # int(): a numpy integer prints differently and would name another stream.
    path = repr((int(root), *(name if isinstance(name, str) else int(name) for name in names))).encode()
    return int.from_bytes(hashlib.sha256(path).digest()[:8], "little") >> 1


def check_share(share: object, name: str = "share") -> None:
    """Raise the InputError for anything but 8 to 64 bytes in hex, which is what a share of a bound seed is."""
    text = share if isinstance(share, str) else ""
    if not (16 <= len(text) <= 128 and len(text) % 2 == 0 and set(text) <= set("0123456789abcdef")):
        raise InputError(f"expected {name} as 16 to 128 lower-case hex digits (`openssl rand -hex 16`), got {share!r}")


def bound_seed(dataset_sha256: str, model: str, shares: Sequence[str]) -> int:
    """Seed in [0, 2^63) that neither party chose alone (Choi et al. 2023, arXiv:2307.00682, 4.3).

    Args:
        dataset_sha256: digest of the training points, hex.
        model: its name.
        shares: the prover's own seed, and what the verifier drew for this training, hex.
    """
    return derive_seed(0, "bound", dataset_sha256, model, *shares)


def share_problems(
    seed: int, dataset_sha256: str, model: str, shares: Sequence[str], expected: str | None
) -> list[str]:
    """Why a seed is not one that prover and verifier chose together; none if it is.

    Args:
        seed: of the proof.
        dataset_sha256: as of `bound_seed`.
        model: as of `bound_seed`.
        shares: as the proof names them; none if the prover chose alone.
        expected: what this verifier gave for the training; None = not known.
    """
    problems = []
    if not shares:
        problems.append("the seed was chosen by the prover alone: the proof names no shares")
    elif seed != bound_seed(dataset_sha256, model, shares):
        problems.append("the seed is not the hash of the dataset, the model and both shares")
    if expected is None:
        problems.append("the verifier's share is not known: give the one that was given to the prover")
    elif shares and shares[1] != expected:
        problems.append("the share is not the one that this verifier gave")
    return problems


def commitment_to(dataset_sha256: str, model: str, own_share: str) -> str:
    """SHA-256, hex, of the prover's part of a bound seed: he hands it over before he learns the verifier's share.

    Without it a prover could try his own seeds against a share that he knows until W_0 or the data order suits him.

    Args:
        dataset_sha256: digest of the training points, hex.
        model: its name.
        own_share: the prover's own seed in decimal digits; drawn at random, it stays secret until the proof is handed over.
    """
    path = repr(("raypol commitment v1", dataset_sha256, model, own_share)).encode()
    return hashlib.sha256(path).hexdigest()


COMMITMENT_KEPT: Final = "the prover's share of the seed is the one that he had committed to"


def commitment_problems(dataset_sha256: str, model: str, shares: Sequence[str], expected: str | None) -> list[str]:
    """Why the prover's share of a seed is not known to be the one that he had committed to; none if it is.

    Args:
        dataset_sha256: as of `bound_seed`.
        model: as of `bound_seed`.
        shares: as of `share_problems`.
        expected: the commitment that the verifier has; None = none.
    """
    if expected is None:
        return ["no commitment is known: give the one that the prover sent before he got the share"]
    if not shares:
        return ["the proof names no share of the prover's that a commitment could be to"]
    if commitment_to(dataset_sha256, model, shares[0]) != expected:
        return ["the prover's share of the seed is not the one that he had committed to"]
    return []


def check_commitment(commitment: object) -> None:
    """Raise the InputError for anything but a SHA-256 in hex, as `raypol commit` prints it."""
    check_sha256(commitment, "a commitment (`raypol commit`)")


def generator(root: int, *names: str | int) -> torch.Generator:
    """CPU generator seeded for the stream `names` under `root`."""
    return torch.Generator().manual_seed(derive_seed(root, *names))
