"""Time on a device: pauses are left out, nested ones once."""

import itertools

import pytest
import torch

from raypol.core.clock import Stopwatch


def test_pauses_are_left_out_and_nested_ones_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.core.clock.time.perf_counter", itertools.count().__next__)
    watch = Stopwatch(torch.device("cpu"))  # each look at the clock is one tick later
    with watch.pause():  # two ticks
        pass
    assert watch.read() == 3 - 1
    with watch.pause():
        with watch.pause():
            pass
        with watch.pause():
            pass
    assert watch.read() == 10 - 1 - 5
    watch.start()
    assert watch.read() == 1
