"""The two prime fields of the curve BN254, and the only spelling in which their elements are taken."""

from typing import Final

from raypol.core.errors import InputError, in_short
from raypol.core.hashing import check_sha256

SCALAR_MODULUS: Final = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
"""r: what the circuit computes modulo."""
BASE_MODULUS: Final = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
"""q: of the coordinates of a proof's points."""
PROOF_BYTES: Final = 256
"""A in G1, B in G2, C in G1: eight coordinates."""
_WORD: Final = 32


def element_text(value: int) -> str:
    """The one spelling of a scalar: 64 lower-case hex digits."""
    assert 0 <= value < SCALAR_MODULUS
    return f"{value:064x}"


def parse_element(text: object, name: str) -> int:
    """The scalar behind its one spelling.

    Raises:
        InputError: another spelling, or a number that is not below the modulus: it would name the same element twice.
    """
    check_sha256(text, name)
    value = int(str(text), 16)
    if value >= SCALAR_MODULUS:
        raise InputError(f"expected {name} below the modulus of the field, got {in_short(text)}: not canonical")
    return value


def check_proof_bytes(proof: bytes, name: str) -> None:
    """Raise the InputError for anything but eight coordinates below the modulus of their field."""
    if len(proof) != PROOF_BYTES:
        raise InputError(f"expected {name} as {PROOF_BYTES} bytes, got {len(proof)}")
    for start in range(0, PROOF_BYTES, _WORD):
        if int.from_bytes(proof[start : start + _WORD]) >= BASE_MODULUS:
            raise InputError(
                f"{name}: coordinate {start // _WORD} is not below the modulus of its field: not canonical"
            )
