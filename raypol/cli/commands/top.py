"""`raypol top`: a running sweep in a terminal, read from its results folder; neither Ray nor the driver's machine is needed."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from raypol.cli.pace import rate_words, time_words
from raypol.cli.sweep_status import Glance, look
from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.connection import connect, running_cluster
from raypol.cluster.inventory import NodeOffer
from raypol.cluster.scaling import live_nodes
from raypol.core.errors import InputError, first_line
from raypol.report.tables import terminal_text
from raypol.runs.sweeps.live_status import STATES
from raypol.store.location import open_location

_SHOWN: Final = 20
"""Running trials, and nodes, in a frame."""
_LOG_WIDTH: Final = 140
_LOG_EVERY_S: Final = 30.0
_TERMINAL_EVERY_S: Final = 2.0
_STYLES: Final = {"ok": "green", "error": "red", "stopped": "yellow", "running": "cyan"}


@dataclass(frozen=True, kw_only=True)
class Top:
    """Watch a sweep while it runs: trials by state, which run and since when, rates, time left, devices in use. Reads the results
    folder, so it works from any machine that sees it. Ends with the sweep, or with Ctrl-C.
    """

    results: str = "results"
    """Results folder: a local path, s3://... or gs://..."""
    name: str = ""
    """Name of the sweep in it; empty = the newest."""
    address: str = "auto"
    """Ray cluster whose nodes are shown too: auto = the one that a sweep would join from here, if there is one; none = do not
    look; or host:port."""
    every: float | None = None
    """Seconds between two frames; None = 2 on a terminal, 30 in a log."""
    once: bool = False
    """Print one frame and end."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Run it."""
        if self.every is not None and not 0.2 <= self.every <= 86400:
            raise InputError(f"expected --every in 0.2..86400 s, got {self.every:g}")
        out = Console(highlight=False, markup=False)
        if not out.is_terminal:
            out = Console(highlight=False, markup=False, width=_LOG_WIDTH)
        results = open_location(self.results)
        glance = look(results, self.name)  # bad input ends here, before Ray is asked
        try:
            with _Nodes(self.address) as nodes:
                screen = Live(console=out, auto_refresh=False) if out.is_terminal and not self.once else None
                every = self.every or (_LOG_EVERY_S if screen is None else _TERMINAL_EVERY_S)
                with screen or _Pages(out) as shown:
                    shown.update(frame(glance, nodes), refresh=True)
                    while glance.goes_on and not self.once:
                        time.sleep(every)
                        glance = look(results, glance.sweep_id)
                        shown.update(frame(glance, nodes), refresh=True)
        except KeyboardInterrupt:  # how one leaves it
            pass
        return 0


class _Pages:
    """One frame after the other, for a log."""

    def __init__(self, out: Console) -> None:
        self.OUT = out

    def __enter__(self) -> "_Pages":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, shown: RenderableType, *, refresh: bool) -> None:
        """Print it."""
        del refresh
        self.OUT.print(shown, "")


class _Nodes:
    """The nodes of a cluster, if one is reached."""

    def __init__(self, address: str) -> None:
        self.note = ""
        """Why there are none to show."""
        self._connected = False
        place = running_cluster() if address == "auto" else address
        if address == "none":
            self.note = "no cluster was asked (--address none)"
        elif place is None:
            self.note = (
                "no Ray cluster runs on this machine; nodes are shown where one does, or with --address host:port"
            )
        else:
            try:
                connect(place)
                self._connected = True
            except InputError as err:
                if address != "auto":
                    raise
                self.note = str(err)

    def __enter__(self) -> "_Nodes":
        return self

    def __exit__(self, *_: object) -> None:
        if self._connected:
            import ray

            ray.shutdown()

    def look(self) -> tuple[NodeOffer, ...]:
        """Those that live now."""
        if not self._connected:
            return ()
        try:
            return live_nodes()
        except Exception as err:  # the head may go while one watches; the folder is still there
            self.note = f"the Ray cluster does not answer any more: {first_line(err)}"
            return ()


def frame(glance: Glance, nodes: _Nodes) -> RenderableType:
    """One frame."""
    parts: list[RenderableType] = [_head(glance), "", _counts(glance), _rates(glance)]
    if glance.pulse is not None and glance.pulse.running:
        parts += ["", _running(glance)]
    offers = nodes.look()
    parts += ["", _nodes(offers) if offers else Text(nodes.note, style="dim")]
    if glance.others:
        more = f" and {len(glance.others) - 3} more" if len(glance.others) > 3 else ""
        parts.append(Text(f"other sweeps here (--name): {', '.join(glance.others[:3])}{more}", style="dim"))
    return Group(*parts)


def _head(glance: Glance) -> RenderableType:
    now = f"{datetime.fromtimestamp(glance.now):%Y-%m-%d %H:%M:%S}"
    title = terminal_text(f"{glance.sweep_id} in {glance.results}, {now}")
    title.stylize("bold")
    return Group(title, terminal_text(_standing(glance)))


def _standing(glance: Glance) -> str:
    """Whether it runs, in one line."""
    pulse = glance.pulse
    if pulse is None:
        return "no live record, as demos, imports and older versions leave none: counted from rows"
    ago = time_words(max(glance.now - pulse.written_at, 0.0))
    ran = time_words(max(pulse.written_at - pulse.started_at, 0.0))
    if pulse.ended:
        again = "" if pulse.ended == "finished" else "; run the same command again to go on"
        return f"{pulse.ended} {ago} ago, after {ran}{again}"
    if glance.is_late:
        return f"the driver has given no sign for {ago}: it seems to be dead; run the same command again to go on"
    return f"running for {ran}; {pulse.doing or 'starting'}"


def _counts(glance: Glance) -> RenderableType:
    line = Text()
    for state in STATES:
        if state in ("waiting", "running") and glance.pulse is None:
            continue
        number = glance.states[state]
        line.append(f"{state} {number}   ", style=_STYLES.get(state, "") if number else "dim")
    pulse = glance.pulse
    if pulse is not None and pulse.resumed:
        line.append(f"({pulse.resumed} were finished before)   ", style="dim")
    if pulse is not None and pulse.lost:
        line.append(f"lost and started again {pulse.lost}", style="yellow")
    if not glance.num_trials:
        return Group(Text(f"{glance.num_done} trials have a row"), line)
    share = glance.num_done / glance.num_trials
    counted = Text(f"{glance.num_done}/{glance.num_trials} trials, {share:.0%}")
    return Group(_Bar(glance.num_done, glance.num_trials), counted, line)


class _Bar:
    """A bar, where there is a terminal."""

    def __init__(self, done: int, of: int) -> None:
        self._bar = ProgressBar(total=of, completed=done, width=60)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.is_terminal:
            yield self._bar
            yield Segment.line()


def _rates(glance: Glance) -> RenderableType:
    rates, left = glance.rates(), glance.left_s()
    said = []
    if rates is not None:
        trials, intervals = rate_words(rates.trials_per_s, "trials"), rate_words(rates.intervals_per_s, "intervals")
        when = "" if glance.goes_on else " before the end"
        said.append(f"{trials}, {intervals} verified, over the last {time_words(rates.over_s)}{when}")
    if left is not None:
        said.append(f"about {time_words(left)} left")
    elif glance.goes_on:
        said.append("time left: not known before a trial has finished")
    return Text("; ".join(said))


def _running(glance: Glance) -> RenderableType:
    assert glance.pulse is not None
    trials = glance.pulse.running
    title = "running" if glance.goes_on else "were running"
    table = Table(title=f"{title}, the oldest first", title_justify="left", box=None, pad_edge=False)
    for column in ("arm", "T'", "k", "seed", "device", "since", "try"):
        table.add_column(
            column, justify="right" if column in ("T'", "k", "seed", "since", "try") else "left", no_wrap=True
        )
    for trial in trials[:_SHOWN]:
        cells = (trial.arm, str(trial.steps), str(trial.interval), str(trial.seed), trial.device)
        age = time_words(max(glance.pulse.written_at - trial.since, 0.0))
        table.add_row(*map(terminal_text, cells), age, str(trial.tries))
    if len(trials) <= _SHOWN:
        return table
    return Group(table, Text(f"and {len(trials) - _SHOWN} more", style="dim"))


def _nodes(offers: tuple[NodeOffer, ...]) -> RenderableType:
    """What is in use of each; the busiest first."""
    table = Table(title="nodes, the busiest first", title_justify="left", box=None, pad_edge=False)
    for column in ("node", "CPU in use", "GPU in use", "GPU models"):
        table.add_column(column, justify="right" if column.endswith("use") else "left", no_wrap=True)

    def used(offer: NodeOffer) -> float:
        return offer.cpus - (offer.free_cpus or 0.0) + offer.gpus - (offer.free_gpus or 0.0)

    for offer in sorted(offers, key=used, reverse=True)[:_SHOWN]:
        models = ", ".join(sorted({canonical_accelerator(name) for name in offer.accelerators}))
        simulated = " (simulated)" if offer.simulated else ""
        table.add_row(
            terminal_text(offer.name),
            _in_use(offer.free_cpus, offer.cpus),
            _in_use(offer.free_gpus, offer.gpus),
            f"{models}{simulated}" or "-",
        )
    if len(offers) <= _SHOWN:
        return table
    return Group(table, Text(f"and {len(offers) - _SHOWN} more", style="dim"))


def _in_use(free: float | None, total: float) -> str:
    return f"?/{total:g}" if free is None else f"{round(total - free, 3):g}/{total:g}"
