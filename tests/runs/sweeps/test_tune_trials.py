"""What Tune's callbacks decide; whole sweeps: tests/cli/test_sweep.py and tests/system."""

from pathlib import Path

import pytest

from raypol.runs.sweeps import tune_trials
from raypol.store.location import Location, open_location


@pytest.mark.parametrize(("answers", "problem"), [([], ""), (["away", "away"], ""), (["full"] * 1000, "full")])
def test_only_storage_that_stays_away_ends_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], problem: str
) -> None:
    left = list(answers)

    def probe(where: Location, num_bytes: int) -> str:
        assert (where.path, num_bytes) == (str(tmp_path), 1 << 20)
        now[0] += 1.0
        return left.pop() if left else ""

    now = [0.0]
    monkeypatch.setattr(tune_trials, "write_problem", probe)
    monkeypatch.setattr("tenacity.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    assert tune_trials._storage_problem(open_location(tmp_path)) == problem
    assert now[0] < 100.0
