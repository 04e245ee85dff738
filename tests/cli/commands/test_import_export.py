"""`raypol import` and `raypol export`: what they print, exit codes, one line for bad input and nothing left behind."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from raypol.cli.main import main
from raypol.core.datasets.load import load_dataset
from raypol.runs.published.export_proof import NOTE_NAME
from tests.published_code import prove
from tests.scenes import TINY
from tests.store.published.test_torch_files import Payload

DATA = load_dataset(TINY)
SMOOTH = "tests.scenes:smooth_net"
NAMES = ("--dataset", TINY, "--model", SMOOTH)
IMPORT = ("import", "--layout", "published", *NAMES, "--transform", "identity", "--interval", "3")
Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout and stderr of a command."""

    def run(*words: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A genuine folder of the published prover."""
    prove(tmp_path / "published", DATA, model=SMOOTH, seed=1)
    return tmp_path / "published"


def test_there_and_back(run: Run, published: Path, tmp_path: Path) -> None:
    code, out, _ = run(*IMPORT, published, "--results", tmp_path / "r")
    assert code == 0
    assert "asserted         dataset, model, loss, transform, seed, optimizer.name (the folder does not record" in out
    assert "hash.txt         there, but not comparable" in out
    assert "MultiStepLR (milestones [2, 5], gamma 0.1)" in out
    folder = out.splitlines()[-1]
    assert (Path(folder) / "manifest.json").is_file()
    for policy in ("published", "strict"):
        words = ("--policy", policy, "--augmentation", "fresh", "--thresholds", "static")
        code, out, _ = run("verify", folder, *NAMES, *words)
        assert code == (2 if "establish nothing" in out and policy == "strict" else 0), out
        assert "what the prover did not record: dataset, model, loss" in out
    code, out, err = run("export", "--layout", "published", folder, tmp_path / "out", *NAMES)
    assert code == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "out")
    note = (tmp_path / "out" / NOTE_NAME).read_text()
    for part in ("root and hashes", "k and B", "asserted", "dataset"):
        assert f"\n{part:<16} " in out
        assert f"\n- {part}: " in note
    for step in (0, 3, 6, 7):
        first, second = (torch.load(place / f"model_step_{step}") for place in (published, tmp_path / "out"))
        assert all(torch.equal(first["net"][name], second["net"][name]) for name in first["net"])
        assert first["scheduler"]["last_epoch"] == second["scheduler"]["last_epoch"]
    (again,) = [line for line in out.splitlines() if line.startswith("read it back")]
    code, out, _ = run(*again.removeprefix("read it back").replace("raypol", "").split(), "--results", tmp_path / "r")
    assert code == 0
    assert out.splitlines()[-1] == folder  # the same proof, by its root


def test_unknown_crops_are_said_to_be(run: Run, published: Path, tmp_path: Path) -> None:
    _, out, _ = run(*IMPORT, published, "--crop-padding", 1, "--results", tmp_path)
    assert "verify with --augmentation fresh" in out
    folder = out.splitlines()[-1]
    _, out, _ = run("verify", folder, *NAMES)
    assert "its crops and flips are not known: use --augmentation fresh" in " ".join(out.split())


# --- bad input -----------------------------------------------------------------------------------------------------


def other_model(folder: Path) -> None:
    prove(folder.parent / "other", DATA, model="tests.scenes:half_frozen_net")
    shutil.copy(folder.parent / "other" / "model_step_3", folder / "model_step_3")


def code_in(folder: Path) -> None:
    state = torch.load(folder / "model_step_6")
    state["net"]["0.weight"] = Payload(f"touch {folder.parent / 'ran'}")
    torch.save(state, folder / "model_step_6")


def bomb(folder: Path) -> None:
    path = folder / "model_step_3"
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data if "data/0" not in name else bytes(16 << 20))


def indices(change: Callable[[np.ndarray], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        np.save(folder / "indices.npy", np.asarray(change(np.load(folder / "indices.npy"))), allow_pickle=True)

    return write


def cut(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-40])

    return write


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "model_step_3").unlink(),
            "model_step_3 is missing; expected one every 3 steps up to 7",
        ),
        (lambda folder: (folder / "model_step_0").unlink(), "model_step_0 is missing"),
        (lambda folder: (folder / "model_step_7").unlink(), "model_step_7 is missing"),
        (lambda folder: (folder / "indices.npy").unlink(), "indices.npy is missing"),
        (other_model, "model_step_3: has no tensor '0.weight' (and 8 more); is tests.scenes:smooth_net its model?"),
        (code_in, "model_step_6: carries code: its pickle calls 'posix.system'; none of it was run"),
        (bomb, "is compressed"),
        (cut("model_step_6"), "model_step_6: not a readable zip archive"),
        (indices(lambda rows: rows.astype(np.float64)), "indices.npy: expected integers, got 'float64'"),
        (indices(lambda rows: rows + 41), "expected 0..47 (the declared dataset)"),
        (indices(lambda rows: rows.astype(object)), "indices.npy: not a readable array of numbers"),
        (cut("indices.npy"), "indices.npy: not a readable array of numbers"),
        (empty, "indices.npy is missing"),
        (shutil.rmtree, "expected a folder with model_step_<t> files and indices.npy"),
    ],
)
def test_a_bad_folder_is_one_line_and_leaves_nothing(
    run: Run, published: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(published)
    code, out, err = run(*IMPORT, published, "--results", tmp_path / "r")
    assert code == 2
    assert not out
    (line,) = [line for line in err.splitlines() if not line.startswith("[")]  # progress
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "ran").exists()
    assert not [path for path in (tmp_path / "r").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", "DIR"), "--dataset"),
        (("import", "DIR", *NAMES), "give --transform (identity, cifar10, cifar100, mnist)"),
        (("import", "DIR", *NAMES, "--layout", "other"), "--layout"),
        (("import", "DIR", *NAMES, "--transform", "mnist", "--lr", "3"), "--lr 3.0 contradicts"),
        (("export", "DIR", "OUT"), "expected a proof folder"),
        (("export", "DIR"), "DIR"),
        (("export", "DIR", "OUT", "--layout", "other"), "--layout"),
    ],
)
def test_wrong_words_are_one_line(run: Run, published: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    places = {"DIR": published, "OUT": tmp_path / "out"}
    code, _, err = run(*(places.get(word, word) for word in words))
    assert code == 2
    (line,) = err.splitlines()
    assert said in line
    assert {path.name for path in tmp_path.iterdir()} == {"published"}


def test_an_export_needs_the_names_typed_and_a_free_place(run: Run, published: Path, tmp_path: Path) -> None:
    _, out, _ = run(*IMPORT, published, "--results", tmp_path / "r")
    folder = out.splitlines()[-1]
    code, _, err = run("export", folder, tmp_path / "out")
    assert (code, "code outside raypol" in err) == (2, True)
    code, _, err = run("export", folder, published, *NAMES)
    assert (code, "exists already; expected the name of a new folder" in err) == (2, True)
    code, _, err = run("export", folder, published / "hash.txt" / "out", *NAMES)
    assert (code, "Not a directory" in err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"published", "r"}
