"""How an arm looks, in every figure the same: colour, marker and line style, so that none of the three is needed alone.

An attack has one colour. Arms of one attack ("III", "iii", "III, alpha 0.1", "zhang2022_iii") share it and differ in marker and
line. Colours are Okabe and Ito's (Color Universal Design, 2008), with greys and three darker ones added; under simulated deutan,
protan and tritan vision no two attacks come closer than a CIELAB distance of 16.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from matplotlib.typing import LineStyleType

from raypol.figures.series import Series
from raypol.store.results.rows import HONEST

A = TypeVar("A", bound=str)

JUMP: Final = "jump"


@dataclass(frozen=True, slots=True)
class ArmStyle:
    """Matplotlib's names for a colour, a filled marker ("" = none) and a line style."""

    colour: str
    marker: str
    line: LineStyleType


STYLES: Final[dict[str, ArmStyle]] = {
    HONEST: ArmStyle("#000000", "", "-"),
    JUMP: ArmStyle("#8C8C8C", "", (0, (5, 3))),
    "null": ArmStyle("#595959", "s", (0, (1, 1.5))),
    "infinitesimal": ArmStyle("#56B4E9", "v", (0, (6, 1.5, 1, 1.5))),
    "forged_momentum": ArmStyle("#CC79A7", "X", (0, (3, 1, 1, 1, 1, 1))),
    "I": ArmStyle("#9A1EF0", "H", (0, (5, 1, 1, 1))),
    "I-tail": ArmStyle("#E69F00", "P", (0, (8, 2))),
    "II": ArmStyle("#009E73", "D", "-"),
    "III-gradient": ArmStyle("#0072B2", "o", "-"),
    "III-loss": ArmStyle("#D55E00", "^", (0, (4, 1.5))),
    "III-invisible": ArmStyle("#332288", "p", (0, (2, 1))),
    "selected": ArmStyle("#693C0F", "d", (0, (7, 1.5, 2, 1.5))),
}
"""The attacks, the honest proof, and the jump (no update), in the order of legends."""

_ALIASES: Final = {name.lower().replace("_", "-"): name for name in STYLES} | {"iii": "III-gradient"}
"""Spellings in lower case -> attack; preset names but for zhang2022_ are among them."""

# Taken by arms that users bring, and by variants of an attack. Independent draws: two strangers seldom share all three.
_OTHER_COLOURS: Final = ("#882255", "#117733", "#6B4C1E", "#999933", "#AA4499", "#44AA99")
_OTHER_MARKERS: Final = ("<", ">", "h", "*", "d", "8")
_OTHER_LINES: Final[tuple[LineStyleType, ...]] = ("-", (0, (4, 1.5)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5)))
_MARKERS: Final = (*_OTHER_MARKERS, "o", "s", "D", "^", "v", "P", "X", "p", "H")


def family_of(arm: str) -> str | None:
    """The attack in `STYLES` that an arm's name begins with; None for an attack of your own."""
    plain = _plain(arm)
    found = [
        alias for alias in _ALIASES if plain.startswith(alias) and not plain[len(alias) : len(alias) + 1].isalnum()
    ]
    return _ALIASES[max(found, key=len)] if found else None


def style_of(arm: str) -> ArmStyle:
    """The style of an arm alone: of an attack its own, of a variant its colour, of an own arm one from its name."""
    family = family_of(arm)
    if family is not None and _is_plain(arm):
        return STYLES[family]
    colour, marker, line = hashlib.sha256(arm.encode()).digest()[:3]
    own = ArmStyle(
        _OTHER_COLOURS[colour % len(_OTHER_COLOURS)],
        _OTHER_MARKERS[marker % len(_OTHER_MARKERS)],
        _OTHER_LINES[line % len(_OTHER_LINES)],
    )
    if family is None:
        return own
    base = STYLES[family]
    return replace(own, colour=base.colour) if base.marker else base


def styles_of(arms: Iterable[str]) -> dict[str, ArmStyle]:
    """The styles of arms that are drawn together: those of one colour get markers of their own, as far as markers reach."""
    styles = {arm: style_of(arm) for arm in in_order(arms)}
    taken: dict[str, set[str]] = {}
    for arm in sorted(styles, key=lambda arm: not _is_plain(arm)):  # stable: an attack itself keeps its marker
        style = styles[arm]
        used = taken.setdefault(style.colour, set())
        if style.marker and style.marker in used:
            free = next((marker for marker in _MARKERS if marker not in used), style.marker)
            styles[arm] = style = replace(style, marker=free)
        used.add(style.marker)
    return styles


def in_order(arms: Iterable[A]) -> list[A]:
    """Each arm once: attacks as in `STYLES`, each with its variants by name, then the others by name."""
    known = list(STYLES)

    def place(arm: str) -> tuple[int, bool, str]:
        family = family_of(arm)
        return (known.index(family) if family else len(known), not _is_plain(arm), arm)

    return sorted(set(arms), key=place)


def _is_plain(arm: str) -> bool:
    """True for the bare name of an attack."""
    return _plain(arm) in _ALIASES and not (isinstance(arm, Series) and arm.variant)


def _plain(arm: str) -> str:
    """The spelling that `_ALIASES` has, of a series that of its arm."""
    return (arm.arm if isinstance(arm, Series) else arm).lower().replace("_", "-").removeprefix("zhang2022-")
