"""`raypol top`: a running sweep in a terminal, read from its results folder; neither Ray nor the driver's machine is needed."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from raypol.cli.console import OUT, table_console
from raypol.cli.options import Debug, open_results_folder
from raypol.cli.progress import left_time_words, rate_words, time_words
from raypol.cli.sweep_status import SweepStatus, read_status
from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.connection import connect, running_cluster
from raypol.cluster.inventory import NodeOffer
from raypol.cluster.scaling import live_nodes
from raypol.core.errors import InputError, first_line, first_names
from raypol.report.tables import Table, TableColumn, terminal_text, to_terminal, words
from raypol.runs.sweeps.live_status import STATES

_MAX_ROWS: Final = 20
"""Running trials, and nodes, in a frame."""
_MAX_OTHERS: Final = 3
_LOG_EVERY_S: Final = 30.0
_TERMINAL_EVERY_S: Final = 2.0
_STYLES: Final = {"ok": "green", "error": "red", "stopped": "yellow", "refused": "yellow", "running": "cyan"}


@dataclass(frozen=True, kw_only=True)
class TopCommand:
    """Watch a sweep while it runs: trials by state, which run and since when, rates, time left, devices in use. Reads the results
    folder, so it works from any machine that sees it. Ends with the sweep, or with Ctrl-C.
    """

    results: str = "results"
    """Results folder: a local path, s3://... or gs://..."""
    name: str = ""
    """Name of the sweep in it; empty = the newest."""
    address: str = "auto"
    """Ray cluster whose nodes are shown too: auto = one that a sweep would join from here, if there is any; none; host:port."""
    every: float | None = None
    """Seconds between two frames; None = 2 on a terminal, 30 in a log."""
    once: bool = False
    """Print one frame and end."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        if self.every is not None and not 0.2 <= self.every <= 86400:
            raise InputError(f"expected --every in 0.2..86400 s, got {self.every:g}")
        is_live = OUT.is_terminal and not self.once
        every = self.every or (_TERMINAL_EVERY_S if is_live else _LOG_EVERY_S)
        results = open_results_folder(self.results)
        status = read_status(results, self.name)  # bad input ends here, before Ray is asked
        no_nodes = _connect(self.address)
        try:
            with Live(console=OUT, auto_refresh=False) if is_live else nullcontext() as screen:
                while True:
                    shown = frame(status, *_live_nodes(no_nodes), with_bar=OUT.is_terminal)
                    if screen is None:
                        table_console(OUT).print(shown, "")
                    else:
                        screen.update(shown, refresh=True)
                    if self.once or not status.is_running:
                        return 0
                    time.sleep(every)
                    status = read_status(results, status.sweep_id)
        except KeyboardInterrupt:  # the usual way to leave
            return 0
        finally:
            if not no_nodes:
                import ray

                ray.shutdown()


def _connect(address: str) -> str:
    """Connect to the cluster whose nodes are shown; returns the reason if none is connected, else ""."""
    place = running_cluster() if address == "auto" else address
    if address == "none":
        return "no cluster was asked (--address none)"
    if place is None:
        return "no Ray cluster runs on this machine; nodes are shown where one does, or with --address host:port"
    try:
        connect(place)
    except InputError as err:
        if address != "auto":
            raise
        return str(err)
    return ""


def _live_nodes(no_nodes: str) -> tuple[tuple[NodeOffer, ...], str]:
    """The nodes that live now, and the reason where there are none to show."""
    try:
        return ((), no_nodes) if no_nodes else (live_nodes(), "")
    except Exception as err:  # the head may go while someone watches; the folder is still there
        return (), f"the Ray cluster no longer answers: {first_line(err)}"


def frame(status: SweepStatus, nodes: tuple[NodeOffer, ...], no_nodes: str, *, with_bar: bool) -> RenderableType:
    """One frame: the sweep, its running trials, and the nodes or the reason why there are none."""
    now = datetime.fromtimestamp(status.now)
    title = terminal_text(f"{status.sweep_id} in {status.results}, {now:%Y-%m-%d %H:%M:%S}")
    title.stylize("bold")
    activity = terminal_text(_activity(status))
    parts: list[RenderableType] = [title, activity, "", *_counts(status, with_bar=with_bar), *_rates(status)]
    if status.pulse is not None and status.pulse.running:
        parts += ["", *_running_trials(status)]
    parts += ["", *(_node_table(nodes) if nodes else [_dim(no_nodes)])]
    if status.others:
        others = first_names(status.others, _MAX_OTHERS)
        parts.append(_dim(f"other sweeps here (--name): {others}"))
    return Group(*parts)


def _dim(text: str) -> Text:
    shown = terminal_text(text)
    shown.stylize("dim")
    return shown


def _activity(status: SweepStatus) -> str:
    """Whether the sweep runs, in one line."""
    pulse = status.pulse
    if pulse is None:
        return "no live record (demos, imports and older versions leave none): counted from rows"
    ago = time_words(max(status.now - pulse.written_at, 0.0))
    ran = time_words(max(pulse.written_at - pulse.started_at, 0.0))
    if pulse.ended:
        again = "" if pulse.ended == "finished" else "; run the same command again to go on"
        return f"{pulse.ended} {ago} ago, after {ran}{again}"
    if status.is_late:
        return f"no sign of the driver for {ago}: it seems to be dead; run the same command again to go on"
    return f"running for {ran}; {pulse.doing or 'starting'}"


def _counts(status: SweepStatus, *, with_bar: bool) -> list[RenderableType]:
    line = Text()
    pulse = status.pulse
    for state in STATES:
        if pulse is not None or state not in ("waiting", "running"):
            number = status.states[state]
            line.append(f"{state} {number}   ", style=_STYLES.get(state, "") if number else "dim")
    if pulse is not None and pulse.resumed:
        line.append(f"({pulse.resumed} were finished before)   ", style="dim")
    if pulse is not None and pulse.lost:
        line.append(f"lost and started again {pulse.lost}", style="yellow")
    if not status.num_trials:
        return [Text(f"{status.num_done} trials have a row"), line]
    counted = Text(f"{status.num_done}/{status.num_trials} trials, {status.num_done / status.num_trials:.0%}")
    bar = ProgressBar(total=status.num_trials, completed=status.num_done, width=60)
    return [*([Padding(bar)] if with_bar else []), counted, line]


def _rates(status: SweepStatus) -> list[RenderableType]:
    rates, left = status.rates(), status.left_s()
    parts = []
    if rates is not None:
        trials, intervals = rate_words(rates.trials_per_s, "trials"), rate_words(rates.intervals_per_s, "intervals")
        when = "" if status.is_running else " before the end"
        parts.append(f"{trials}, {intervals} verified, over the last {time_words(rates.over_s)}{when}")
    if left is not None:
        parts.append(f"about {left_time_words(left)} left")
    elif status.is_running:
        parts.append("time left: not known before a trial has ended")
    return [Text("; ".join(parts))] if parts else []


def _running_trials(status: SweepStatus) -> list[RenderableType]:
    assert status.pulse is not None
    title = "running" if status.is_running else "were running"
    lines = []
    for trial in status.pulse.running:
        age = time_words(max(status.pulse.written_at - trial.since, 0.0))
        cells = (trial.arm, trial.steps, trial.interval, trial.seed, trial.device, age, trial.tries)
        lines.append(list(map(str, cells)))
    numbers = map(TableColumn, ("T'", "k", "seed"))
    columns = [*words("arm"), *numbers, *words("device"), *map(TableColumn, ("since", "try"))]
    return _table(f"{title}, the oldest first", columns, lines)


def _node_table(offers: tuple[NodeOffer, ...]) -> list[RenderableType]:
    """What is in use of each node; the busiest first."""

    def used(offer: NodeOffer) -> float:
        return offer.cpus - (offer.free_cpus or 0.0) + offer.gpus - (offer.free_gpus or 0.0)

    lines = []
    for offer in sorted(offers, key=used, reverse=True):
        models = ", ".join(sorted({canonical_accelerator(name) for name in offer.accelerators}))
        simulated = " (simulated)" if offer.simulated else ""
        in_use = _in_use(offer.free_cpus, offer.cpus), _in_use(offer.free_gpus, offer.gpus)
        lines.append([offer.name, *in_use, f"{models}{simulated}" or "-"])
    columns = [*words("node"), *map(TableColumn, ("CPU in use", "GPU in use")), *words("GPU models")]
    return _table("nodes, the busiest first", columns, lines)


def _table(title: str, columns: Sequence[TableColumn], lines: Sequence[Sequence[str]]) -> list[RenderableType]:
    """The first lines, and how many more there are."""
    table = to_terminal(Table(title=title, columns=columns, lines=lines[:_MAX_ROWS]))
    rest = len(lines) - _MAX_ROWS
    return [table, Text(f"and {rest} more", style="dim")] if rest > 0 else [table]


def _in_use(free: float | None, total: float) -> str:
    return f"?/{total:g}" if free is None else f"{round(total - free, 3):g}/{total:g}"
