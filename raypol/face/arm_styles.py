"""How an arm looks, in every figure the same: colour, marker and line style, so that none of the three is needed alone.

Colours are Okabe and Ito's (Color Universal Design, 2008), with greys and an indigo added; under simulated deutan,
protan and tritan vision no two arms with markers come closer than a CIELAB distance of 16.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from matplotlib.typing import LineStyleType

HONEST: Final = "honest"
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
    "I-tail": ArmStyle("#E69F00", "P", (0, (8, 2))),
    "II": ArmStyle("#009E73", "D", "-"),
    "III-gradient": ArmStyle("#0072B2", "o", "-"),
    "III-loss": ArmStyle("#D55E00", "^", (0, (4, 1.5))),
    "III-invisible": ArmStyle("#332288", "p", (0, (2, 1))),
}
"""The arms of the demo, the honest proof, and the jump (no update), in the order of legends."""

# Taken by arms that users bring. Three independent draws: two strangers seldom share all three.
_OTHER_COLOURS: Final = ("#882255", "#117733", "#6B4C1E", "#999933", "#AA4499", "#44AA99")
_OTHER_MARKERS: Final = ("<", ">", "h", "*", "d", "8")
_OTHER_LINES: Final[tuple[LineStyleType, ...]] = ("-", (0, (4, 1.5)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5)))


def style_of(arm: str) -> ArmStyle:
    """The style of an arm; one that is not in `STYLES` gets one from its name, on every machine the same."""
    if arm in STYLES:
        return STYLES[arm]
    colour, marker, line = hashlib.sha256(arm.encode()).digest()[:3]
    return ArmStyle(
        _OTHER_COLOURS[colour % len(_OTHER_COLOURS)],
        _OTHER_MARKERS[marker % len(_OTHER_MARKERS)],
        _OTHER_LINES[line % len(_OTHER_LINES)],
    )


def in_order(arms: Iterable[str]) -> list[str]:
    """Each arm once: the known ones as in `STYLES`, then the others by name."""
    known = list(STYLES)
    return sorted(set(arms), key=lambda arm: (known.index(arm) if arm in STYLES else len(known), arm))
