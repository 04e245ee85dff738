"""The analysis app without a browser: what filters mean, hostile texts, what is missing is said, the command's errors."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raypol.cli.main import main
from raypol.explorer.filters import MAX_CHOICES, Offer, conditions, offers
from raypol.explorer.html import arm_table, number_text, success_map, tiles
from raypol.explorer.session import open_results
from raypol.explorer.trial_page import configuration, headline, images, origin, verdicts
from raypol.figures.over_training.intervals import interval_chart
from raypol.store.location import open_location
from raypol.store.results.columns import schema_of
from raypol.store.results.queries import Between, OneOf, by_arm, count, open_database, success_by_steps
from raypol.store.results.rows import TrialRow
from tests.conftest import Shown
from tests.many_rows import varied_row
from tests.rows import made_intervals, made_row, write_rows

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>'\""


def table_of(*rows: TrialRow) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(TrialRow))


def offered(*rows: TrialRow) -> tuple[dict[str, Offer], dict[str, str]]:
    found, constant = offers(open_database(table_of(*rows)))
    return {offer.column.name: offer for offer in found}, constant


class Tags(HTMLParser):
    """Every tag of a text, and that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_is_the_same_in_all_trials_is_no_filter() -> None:
    found, constant = offered(made_row(0), made_row(1))
    assert set(found) == {"seed"}
    assert constant["dataset"] == "digits"
    assert constant["arm"] == "III"


def test_filters_say_how_many_trials_a_choice_has() -> None:
    found, _ = offered(*(replace(made_row(i), linf_limit=8 / 255 if i else None, success=i != 1) for i in range(3)))
    assert list(found["linf_limit"].options) == ["8/255 (2)", "free (1)"]
    assert found["success"].options == {"no (1)": False, "yes (2)": True}


def test_many_numbers_become_a_range() -> None:
    found, _ = offered(*(replace(made_row(0), trial_id=str(i), steps=10 + i) for i in range(MAX_CHOICES + 1)))
    offer = found["steps"]
    assert (offer.steps[0], offer.steps[-1]) == (10, 10 + MAX_CHOICES)
    assert conditions([offer], {"steps": [10, 10 + MAX_CHOICES]}) == ()
    assert conditions([offer], {"steps": [12, 20]}) == (Between("steps", 12, 20),)


@pytest.mark.parametrize(("chosen", "expected"), [((), ()), ((0, 1), ()), ((1,), (OneOf("seed", (1,)),))])
def test_nothing_or_everything_ticked_leaves_everything(chosen: tuple[int, ...], expected: tuple[OneOf, ...]) -> None:
    found, _ = offered(made_row(0), made_row(1))
    assert conditions(list(found.values()), {"seed": chosen}) == expected


def test_no_text_of_a_row_becomes_html(tmp_path: Path) -> None:
    texts: dict[str, Any] = {
        name: HOSTILE for name, kind in zip(schema_of(TrialRow).names, schema_of(TrialRow).types, strict=True)
        if pa.types.is_string(kind)
    }  # fmt: skip
    row = replace(made_row(0), **texts)
    plain = asdict(row)
    database = open_database(table_of(row))
    for part in (
        headline(plain),
        headline({**plain, "status": "ok"}),
        verdicts({**plain, "accepted_strict": False, "accepted_published": False}),
        configuration(plain),
        origin(plain, open_location(tmp_path)),
        arm_table(by_arm(database)),
        success_map(success_by_steps(database)),
        tiles(count(database), count(database)),
    ):
        assert not {"script", "img"} & Tags(part).seen
        assert not Tags(part).open


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (float("inf"), "–"), (0.0, "0"), (1234567, "1,234,567"), (1e-9, "1e-09"),
        (True, "yes"), (12345.6, "12,346"),
    ],
)  # fmt: skip
def test_numbers(value: object, text: str) -> None:
    assert number_text(value) == text


def test_the_success_map_puts_many_steps_together_and_loses_none() -> None:
    cells = [("II", steps, 3, steps % 4) for steps in range(1, 101)]
    text = success_map(cells)
    head = text.split("</thead>")[0]
    assert head.count("<th>") <= 17
    counts = [part.split('"')[0] for part in text.split('title="')[1:]]
    assert sum(int(said.split(" of ")[1]) for said in counts) == 300
    assert sum(int(said.split(" of ")[0]) for said in counts) == sum(steps % 4 for steps in range(1, 101))


def test_an_error_an_estimate_and_simulated_hardware_are_marked() -> None:
    row = {
        **asdict(varied_row(0)),
        "status": "error",
        "message": "RuntimeError: out of memory",
        "simulated": True,
        "estimated": True,
        "intervals_verified": 3,
        "num_intervals": 90,
    }
    text = headline(row)
    for said in ("status error", "out of memory", "hardware simulated", "estimated from 3 of 90 intervals"):
        assert said in text
    assert ">measured<" not in text


@pytest.mark.parametrize("number_of_intervals", [0, 1, 2, 200])
@pytest.mark.parametrize("lack", ["", "threshold", "distance", "movement", "normalised", "everything"])
def test_the_chart_of_intervals_draws_what_there_is(number_of_intervals: int, lack: str, tmp_path: Path) -> None:
    cells = [asdict(interval) for interval in made_intervals(made_row(0), number_of_intervals)]
    for cell in cells:
        names = ("distance", "movement", "control", "threshold") if lack == "everything" else (lack,)
        cell.update({name: None for name in names if name})
        cell["passed"] = cell["step_from"] % 2 == 0
    figure = interval_chart(cells, arm="III-loss")
    if number_of_intervals < 200:
        figure.savefig(tmp_path / "chart.png")
    crosses = [line for ax in figure.axes for line in ax.get_lines() if line.get_marker() == "x"]
    assert bool(crosses) == (number_of_intervals > 1)


def test_images_of_a_real_trial_and_why_there_are_none(shown: Shown, tmp_path: Path) -> None:
    results = shown.second.study.results
    by_arm_name = {outcome.row.arm: outcome.row for outcome in shown.second.outcomes}
    crafted = next(row for row in by_arm_name.values() if row.num_points)
    drawn, missing = images(crafted, results, None)
    assert drawn is not None, missing
    for row, where, said in (
        (by_arm_name["null"], results, "no points of its own"),
        (replace(crafted, status="error"), results, "ended with status error"),
        (crafted, open_location(tmp_path), "is not there"),
        (replace(crafted, dataset="os:getcwd"), results, "would run its code"),
        (replace(crafted, dataset="cifar10"), results, "cifar10"),
        (replace(crafted, dataset="no such thing"), results, "unknown dataset"),
    ):
        drawn, missing = images(row, where, str(tmp_path) if row.dataset == "cifar10" else None)
        assert drawn is None
        assert said in missing


def test_a_folder_is_read_once_and_again_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "results"
    write_rows(folder, 2)
    first = open_results(str(folder))
    write_rows(folder, 3)
    assert open_results(str(folder)) is first
    second = open_results(str(folder), again=True)
    assert len(second.trials.table) == 3
    assert "3 files in" in second.origin


@pytest.fixture
def explore(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Exit code and stderr."""
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "cache"))

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["explore", *words, "--no-browser"])
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return run


def test_what_cannot_be_opened_is_said_in_one_line(explore: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    pytest.importorskip("marimo")
    (tmp_path / "file").write_text("x")
    write_rows(tmp_path / "results", 1)
    for words, said in (
        ((str(tmp_path / "nowhere"),), "no such results folder"),
        ((str(tmp_path / "file"),), "expected a results folder, got a file"),
        (("nothing://x",), "cannot open"),
        ((str(tmp_path / "results"), "--port", "99999"), "expected a port in 0..65535, got 99999"),
        ((str(tmp_path / "results"), "--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid"),
    ):
        code, err = explore(*words)
        assert code == 2
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert said in line


def test_without_the_extra_the_command_says_which(tmp_path: Path) -> None:
    write_rows(tmp_path, 1)
    code = (
        "import sys; sys.modules['marimo'] = None; from raypol.cli.main import main; "
        f"main(['explore', {str(tmp_path)!r}, '--no-browser'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert (
        "error: raypol explore needs marimo, which is not installed: pip install -e '.[explore]' in the checkout"
        in done.stderr
    )
