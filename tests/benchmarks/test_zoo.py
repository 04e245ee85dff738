"""The zoo counts what it is meant to count; the zoo itself is `make zoo`."""

import os
import signal
import time

import pytest

from benchmarks.zoo.__main__ import Row
from benchmarks.zoo.judging import Finding, Judged, in_child
from benchmarks.zoo.specimens import BAR, STRICT, Bad


def row(outcome: str, *, bad: Bad | None = None, same: bool = False, seconds: float = 0.1, memory: float = 1.0) -> Row:
    judged = {name: Judged(outcome) for name in ("published", *BAR)}
    unhandled = "KeyError: 'x'" if outcome == "unhandled" else ""
    finding = Finding(judged, seconds, 100.0, "", unhandled)
    return Row("group", bad or Bad("bad", lambda _: None), finding, memory, same)


@pytest.mark.parametrize("outcome", ["rejected", "bad input", "not calibrated"])
def test_what_is_not_accepted_is_not_counted(outcome: str) -> None:
    assert row(outcome).problems == []


def test_what_the_totals_count() -> None:
    assert row("accepted").accepted == list(BAR)
    assert row("unhandled").problems == ["unhandled: KeyError: 'x'"]
    assert row("rejected", seconds=11.0, memory=2.5).problems == ["11 s", "2.5 times the memory"]


def test_excuses_count_for_the_policies_that_they_name() -> None:
    excused = Bad("bad", lambda _: None, "less than the slack", STRICT)
    assert row("accepted", bad=excused).accepted == ["calibrated", "bound"]
    assert row("accepted", bad=Bad("bad", lambda _: None, "", STRICT)).accepted == list(BAR), "no excuse, no exception"


def test_a_folder_that_says_what_the_honest_one_says_is_no_bad_proof_unless_its_root_was_to_be_another() -> None:
    assert row("accepted", same=True).problems == []
    assert row("accepted", same=True, bad=Bad("bad", lambda _: None, knows_root=True)).accepted == list(BAR)


def test_a_child_that_is_killed_fails_or_hangs_is_told_from_one_that_ends() -> None:
    assert in_child(lambda: 7, 60.0)[:2] == (7, 0)
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 60.0)[:2] == (None, -signal.SIGKILL)
    assert in_child(lambda: 1 // 0, 60.0)[:2] == (None, 3)
    assert in_child(lambda: time.sleep(60.0), 0.2)[:2] == (None, -signal.SIGKILL)
