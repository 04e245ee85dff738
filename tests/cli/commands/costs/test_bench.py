"""`raypol bench` at the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from raypol.cli.main import main
from tests.cli.test_main import Run, run

__all__ = ["run"]

TINY = ("bench", "--model", "tests.toys:mlp", "--steps", "20", "--repeats", "1", "--attack", "null", "steered")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the file of a run."""
    file = tmp_path_factory.mktemp("bench") / "costs.json"
    with pytest.raises(SystemExit) as ended:
        main([*TINY, "--declares", "no_momentum", "--out", str(file)])
    assert ended.value.code == 0
    return file.read_text()


@pytest.fixture
def measured(content: str, tmp_path: Path) -> Path:
    """That file, to be changed."""
    file = tmp_path / "costs.json"
    file.write_text(content)
    return file


def test_a_run_is_a_table_sorted_by_cost_and_compares_with_itself(run: Run, measured: Path) -> None:
    file = measured.with_name("again.json")
    again = run(*TINY, "--declares", "no_momentum", "--against", measured, "--out", file)
    assert again.code == 0, again.err
    assert again.last == f"costs written to {file}"
    head, *lines = again.out.splitlines()
    assert head.startswith("costs per claimed step")
    names = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in ("honest", "null", "steered")]
    assert names[0] == "null"
    assert "now / before" in again.out
    content = json.loads(measured.read_text())
    assert content["machine"]["threads"] == 1
    assert content["costs"][0]["attack"] == "null"


def test_another_machine_or_other_settings_are_refused_with_both_named(run: Run, measured: Path) -> None:
    other = run(*TINY, "--against", measured)
    assert other.code == 2
    assert "measured with declares 'no_momentum', this run has 'honest_schedule'" in other.err
    content = json.loads(measured.read_text())
    content["machine"]["processor"] = "Zuse Z3"
    measured.write_text(json.dumps(content))
    foreign = run(*TINY, "--declares", "no_momentum", "--against", measured)
    assert foreign.code == 2
    (line,) = [line for line in foreign.err.splitlines() if line.startswith("error")]
    assert "was measured on Zuse Z3" in line
    assert "this machine is " in line


def _changed(content: dict[str, Any], where: str, value: object) -> str:
    part, _, name = where.partition("/")
    target = content[part][0] if part == "costs" else content[part] if name else content
    target[name or part] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("machine/cores", True, "machine.cores"),
        ("machine/cores", "2", "machine.cores"),
        ("costs/median", 0.0, "costs.0.median"),
        ("costs/median", float("nan"), "costs.0.median"),
        ("costs/equivalents", [], "costs.0.equivalents"),
        ("costs", [], "costs"),
        ("costs", {"a": 1}, "costs"),
        ("format", "raypol-policy", "not a raypol-bench file"),
        ("machine/processor", "x" * 1_000_000, "expected at most"),
        ("machine/processor", "x" * 1_000, "machine.processor"),
    ],
)
def test_a_hostile_file_is_one_line(run: Run, measured: Path, where: str, value: object, said: str) -> None:
    measured.write_text(_changed(json.loads(measured.read_text()), where, value))
    bad = run(*TINY, "--declares", "no_momentum", "--against", measured)
    assert bad.code == 2
    assert said in bad.err
    assert len(bad.err.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "\udcff"])
def test_a_garbled_file_is_one_line(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "costs.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    bad = run(*TINY, "--against", file)
    assert bad.code == 2
    assert len(bad.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--attack", "nothing"), "unknown attack 'nothing'"),
        (("--repeats", "0"), "expected repeats in 1..1000, got 0"),
        (("--device", "abacus!"), "unknown device"),
        (("--against", "no_such.json"), "no such file"),
        (("--attack", "forge_batch", "--declares", "no_momentum"), "attack forge_batch: a forgery of the honest proof"),
    ],
)
def test_bad_input_is_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    bad = run("bench", "--model", "tests.toys:mlp", "--steps", "20", "--repeats", "1", *words)
    assert bad.code == 2
    assert said in bad.err
    assert len([line for line in bad.err.splitlines() if line.startswith("error")]) == 1
