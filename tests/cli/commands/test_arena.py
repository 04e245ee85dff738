"""`raypol arena` and what belongs to it, as a user types them."""

from pathlib import Path
from typing import Final

import pytest

from raypol.cli.commands.arena.run import ArenaCommand
from raypol.runs.arena.tasks import TASKS
from tests.cli.test_main import Run, run
from tests.runs.arena.test_own_proof import DATA, stored
from tests.runs.arena.test_standing import changed, invented, write_arena

__all__ = ["run"]

COMMANDS: Final = ("arena", "arena-merge", "arena-check")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- merge -----------------------------------------------------------------------------------------------------------


def test_two_words_are_one_command(run: Run, tmp_path: Path) -> None:
    write_arena(tmp_path / "a")
    write_arena(tmp_path / "b", invented("other"))
    one = run("arena", "merge", tmp_path / "a", tmp_path / "b", "--into", tmp_path / "one")
    two = run("arena-merge", tmp_path / "a", tmp_path / "b", "--into", tmp_path / "two")
    assert (one.code, two.code) == (0, 0), one.err
    assert one.out.replace(str(tmp_path / "one"), "") == two.out.replace(str(tmp_path / "two"), "")
    assert "merged: made, other" in one.out
    assert one.last == str(tmp_path / "one")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    again = run("arena", "merge", tmp_path / "a", "--into", tmp_path / "one")
    assert again.code == 0
    assert "nothing is new" in again.out
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_folder_whose_name_is_a_command_is_still_to_be_had(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_arena(tmp_path / "merge")
    assert run("arena", "merge", "./merge", "--into", "into").code == 0
    ended = run("arena", "./merge")
    assert ended.code == 2
    assert "merge" in ended.err, "which is no proof"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_in_both_spellings(command: str, run: Run) -> None:
    shown = run(command, "--help")
    assert shown.code == 0
    assert "usage: raypol arena" in shown.out
    assert run(*command.split("-"), "--help").out == shown.out
    assert command in run("--help").out


# --- bad input -------------------------------------------------------------------------------------------------------

BAD: Final[list[tuple[str, str]]] = [
    ("arena merge --into {new}", "expected at least one results folder"),
    ("arena merge {none} --into {new}", "no such results folder"),
    ("arena merge {empty} --into {new}", "has no arena"),
    ("arena merge {bad} --into {new}", "is of version 99 of the arena's rules"),
    ("arena merge {good} {bad} --into {new}", "is of version 99 of the arena's rules"),
    ("arena merge {good} --into {file}", "cannot write to the results folder"),
    ("arena check {none}", "no such results folder"),
    ("arena check {empty}", "has no arena: expected what"),
    ("arena check {good} --arena other", "has no arena 'other'; possible: made"),
    ("arena check {good}", "made is no arena of this version"),
    ("arena check {good} --share 0", "expected a share in (0, 1], got 0"),
    ("arena check {good} --share nan", "expected a share in (0, 1], got nan"),
    ("arena check {good} --seed -1", "expected seed in 0.."),
    ("arena {none}", "none"),
    ("arena {empty}", "empty"),
    ("arena --arms nope", "unknown arm 'nope'"),
    ("arena --task nope", "task"),
    ("arena --samples -1", "samples"),
    ("arena --name ../x", "expected --name of letters"),
    ("arena --search range", "needs the axis steps"),
    ("arena --early-stop", "without verdicts to compare"),
    ("arena --dataset nope", "nope"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(
    words: str, said: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "")
    places = {name: tmp_path / name for name in ("good", "bad", "empty", "none", "new", "file")}
    write_arena(places["good"])
    write_arena(places["bad"], changed("cells", {"arm": "searched"}, version=99))
    places["empty"].mkdir()
    places["file"].write_text("taken")
    before = files(tmp_path)
    ended = run(*words.format(**places).split())
    assert ended.code == 2, ended.out + ended.err
    lines = ended.err.strip().splitlines()
    assert lines[-1].startswith("error: ") or "usage" in ended.err or "─" in ended.err
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert files(tmp_path) == before


def test_arms_are_chosen_by_name() -> None:
    command = ArenaCommand(arms=("glue", "continue"))
    design = command.design(command.sweep())
    assert list(design.arms) == ["null", "infinitesimal", "glue", "continue"], "the controls stay"
    assert design.arms["glue"] == TASKS["digits"].smoke.arms["glue"]
    whole = ArenaCommand()
    assert whole.design(whole.sweep()).arms.keys() == TASKS["digits"].smoke.arms.keys()


def test_an_own_proof_names_no_code_that_the_user_did_not(run: Run, tmp_path: Path) -> None:
    address = stored(tmp_path / "own")
    for given, missing in ([], "--dataset tests.scenes:tiny"), (["--dataset", DATA.name], "--model tests.toys:mlp"):
        refused = run("arena", address, "--results", tmp_path / "results", *given)
        assert refused.code == 2
        assert f"which is code outside raypol; give {missing}" in refused.err
    command = ArenaCommand(proof_dir=address, dataset=DATA.name, model="tests.toys:mlp")
    design = command.design(command.sweep())
    assert design.proof == address
