"""One line of a table of measurements: median, spread, bar, and whether the bar holds."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEADING = f"{'ratio':<66} {'median':>6}   {'min .. max':>14}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Repeated measurements of a quantity; without a bar nothing is claimed."""

    claim: str
    values: Sequence[float]
    bound: str = ""
    holds: Callable[[float], bool] | None = None
    digits: int = 2
    """Number of decimals."""

    def line(self) -> str:
        """Median, spread and bound."""
        shown = f".{self.digits}f"
        median = statistics.median(self.values)
        spread = f"{min(self.values):{shown}} .. {max(self.values):{shown}}"
        line = f"{self.claim:<66} {median:>6{shown}}   {spread:>14}   n={len(self.values)}"
        if self.holds is None:
            return line
        return f"{line}   {self.bound:>8}   {'holds' if self.holds(median) else 'MISSED'}"


def at_most(bar: float) -> Callable[[float], bool]:
    """Holds for medians up to the bar."""
    return lambda median: median <= bar


def at_least(bar: float) -> Callable[[float], bool]:
    """Holds for medians from the bar on."""
    return lambda median: median >= bar
