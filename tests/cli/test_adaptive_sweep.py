"""One adaptive search from its command line, small but real: rows, cells, an interruption, merged results."""

from pathlib import Path
from typing import Any, Final

import pytest
from ray import tune

from raypol.cli.main import main
from raypol.cli.sweep import run_sweep
from raypol.core.verification.policies import strict
from raypol.core.verification.replay import Conditions
from raypol.runs.arena.standing import check_arena, merge_arenas, read_arenas
from raypol.runs.arena.verifiers import EXACT_BITS, RANDOM
from raypol.runs.designs.design import Arm, Design, Sweep
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.trials.verify import Examination
from raypol.store.location import open_location
from raypol.store.results.cell_rows import read_cells
from raypol.store.results.files import read_trials, read_verdicts
from tests.runs.arena.test_own_proof import stored
from tests.studies import TRAIN

LINE: Final = Arm(
    "forged_momentum",
    {"steps": 20},
    {"steps": tune.qlograndint(10, 40, 10), "spoof.buffers": tune.choice(["linear", "exact"])},
    ({"steps": 40, "spoof.buffers": "exact"},),
)
DESIGN: Final = Design(
    train=TRAIN,
    arms={"null": Arm("null", {"steps": 10}), "infinitesimal": Arm("infinitesimal", {"steps": 10}), "line": LINE},
    space={"seed": tune.grid_search([0])},
    examination=Examination(conditions=Conditions(), unperturbed=False),
    policies=(RANDOM, EXACT_BITS),
    samples=2,
    more_honest=(2,),
)
SWEEP: Final = Sweep(name="tiny_arena", question="Who passes whom?", paper=DESIGN, smoke=DESIGN)


def searched(results: Path, *words: str) -> int:
    arguments = ["--results", str(results), "--address", "local", "--no-figures", "--size", "smoke", *words]
    with pytest.raises(SystemExit) as ended:
        run_sweep(SWEEP, arguments, search="adaptive")
    return int(ended.value.code or 0)


@pytest.mark.ray
def test_a_search_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    folder, results = tmp_path / "results", open_location(tmp_path / "results")
    assert searched(folder) == 0
    said = capsys.readouterr().out
    assert "Cost of the cheapest accepted spoof" in said
    rows, name = read_trials(results), "tiny_arena-smoke"
    spoofs = [row for row in rows if not row.is_honest]
    assert sorted(row.arm for row in spoofs) == ["infinitesimal", "line", "line", "line", "null"]
    assert sorted(row.seed for row in rows if row.is_honest) == [0, 2], "more honest ones are judged too"
    assert all(row.is_ok for row in rows), [row.message for row in rows]
    assert all(row.removed_share_l2 is None for row in spoofs), "no unperturbed replay"
    notes: list[dict[str, Any]] = [note["point"] for note in SweepRecord(results, name).read_notes("points", "point")]
    assert sorted(note["number"] for note in notes) == [0, 1]
    cells = {(cell.arm, cell.policy, cell.mode): cell for cell in read_cells(results)}
    assert len(cells) == 4 * 4 + 4
    for cell in cells.values():
        if cell.arm == "honest" and cell.policy == "exact_bits":
            assert (cell.tried, cell.mode) == (2, "declared")
        if cell.arm != "honest" and cell.policy == "exact_bits":
            assert cell.accepted == 0
            assert "exact" in cell.rejected_by
        if cell.mode == "adaptive":
            assert (cell.tried, cell.failed, cell.budget) == (3, 0, 2)
    verdicts = read_verdicts(results)
    bits = [one for one in verdicts if one.policy == "exact_bits" and one.arm == "honest"]
    assert len(bits) == 2
    assert not [one for one in bits if "exact" in one.rejected_by.split(",")], "honest training repeats itself"
    assert {one.nonces for one in verdicts if one.policy == "random"} == {100}
    capsys.readouterr()
    assert searched(folder) == 0
    assert "starting Ray" not in capsys.readouterr().err
    assert read_trials(results) == rows, "there is nothing left to run"
    assert read_cells(results) == list(cells.values())
    into = open_location(tmp_path / "standing")
    assert merge_arenas(into, [results]) == [name]
    (arena,) = read_arenas(into)
    check_arena(arena, "standing")
    assert len(arena.trials) == len(rows)
    assert strict.name in {cell.policy for cell in arena.cells}


@pytest.mark.ray
@pytest.mark.slow
def test_the_arena_around_a_proof_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The proof is judged as it lies there, only its reference is trained; another run finds all of it."""
    proof, results = stored(tmp_path / "mine"), tmp_path / "results"
    words = [
        "arena",
        proof,
        "--model",
        "tests.toys:mlp",
        "--dataset",
        "tests.scenes:tiny",
        "--arms",
        "selected",
        "--samples",
        "1",
        "--results",
        str(results),
    ]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--address", "local", "--no-figures"])
        assert ended.value.code == 0
    assert "trials have a row" in capsys.readouterr().out
    rows = read_trials(open_location(results))
    (honest,) = [row for row in rows if row.is_honest]
    assert {row.proof_reference for row in rows if not row.is_honest} == {honest.proof_id} == {"p"}
    assert {cell.arm for cell in read_cells(open_location(results))} == {"honest", "null", "infinitesimal", "selected"}
