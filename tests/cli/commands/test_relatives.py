"""`raypol relatives`: what it prints, the pictures it writes, one line for bad input."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from matplotlib.image import imread

from raypol.cli.main import main
from raypol.core.relatives.dlg import Recovered
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import Seen
from raypol.figures.relatives import leak_picture, perturbed_picture
from raypol.runs.relatives import Leak
from tests.cli.test_main import Ran, assert_one_line, options, snapshot
from tests.figures.figure_rows import assert_well_laid, words

Run = Callable[..., Ran]
WHICH: Final = ("adversarial", "unadversarial", "dlg")


def ran(capsys: pytest.CaptureFixture[str], *given: str | Path) -> Ran:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in given])
    said = capsys.readouterr()
    return Ran(code=int(ended.value.code or 0), out=said.out, err=said.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`raypol relatives ...` in this process, on a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *given: ran(capsys, "relatives", *given)


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """resnet8 after 60 steps. Only look."""
    results = tmp_path_factory.mktemp("relatives")
    with pytest.raises(SystemExit):
        main(["prove", "--steps", "60", "--interval", "30", "--results", str(results)])
    (folder,) = (results / "proofs").glob("proof-*")
    return folder


# --- what works ------------------------------------------------------------------------------------------------------


def test_adversarial_and_unadversarial_tell_each_point(run: Run, proof: Path, tmp_path: Path) -> None:
    before = snapshot(proof)
    for which, kind in (("adversarial", "png"), ("unadversarial", "pdf")):
        path = tmp_path / f"{which}.v1.{kind}"
        done = run(which, proof, "--index", "0", "1", "2", "--out", path)
        assert done.code == 0, done.err
        assert "resnet8 on digits, weights of step 60; test points, |R|_inf <= 8/255, signed, 20 iterations" in done.out
        table = [line for line in done.out.splitlines() if re.match(r" +[0-2] +\d ", line)]
        assert len(table) == 3
        for line in table:
            before_loss, after, rounded = (float(loss) for loss in re.findall(r"% ([0-9.e-]+)", line))
            assert (after > before_loss) == (rounded > before_loss) == (which == "adversarial")
            assert "8/255" in line
        assert done.last == f"picture: {path}"
        assert path.read_bytes().startswith(b"\x89PNG" if kind == "png" else b"%PDF-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adversarial.v1.png", "unadversarial.v1.pdf"]
    assert snapshot(proof) == before, "asking changes nothing"


def test_a_target_is_reported(run: Run, proof: Path) -> None:
    done = run("adversarial", proof, "--index", "0", "1", "--target", "3", "--linf-limit", "0.5")
    assert re.search(r"seen as 3 after rounding: [12] of 2", done.out), done.out


def test_dlg_tells_image_and_label(run: Run, proof: Path, tmp_path: Path) -> None:
    done = run("dlg", proof, "--index", "2", "--restarts", "1", "--iterations", "150", "--out", tmp_path / "x.png")
    assert done.code == 0, done.err
    assert "weights of step 0; test point 2" in done.out
    assert re.search(r"label +5, true 5", done.out)
    (quality,) = re.findall(r"PSNR +([0-9.]+) dB", done.out)
    assert float(quality) > 20.0
    assert imread(tmp_path / "x.png").ndim == 3


def test_the_step_is_asked_for(run: Run, proof: Path) -> None:
    assert "weights of step 30; train" in run("adversarial", proof, "--at", "30", "--split", "train").out
    assert "weights of step 60" in run("dlg", proof, "--at", "60", "--iterations", "2", "--restarts", "1").out


def test_the_same_command_says_the_same(run: Run, proof: Path) -> None:
    words = ("dlg", proof, "--iterations", "5", "--restarts", "2", "--seed", "4")
    assert run(*words).out == run(*words).out


# --- help, bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", WHICH)
def test_help_explains_every_option_and_gives_its_default(run: Run, which: str, monkeypatch: Any) -> None:  # noqa: ANN401
    monkeypatch.setenv("COLUMNS", "200")
    done = run(which, "--help")
    assert done.code == 0
    found = options(done.out)
    found.pop("-h")
    assert {"PROOF_DIR", "--index", "--at", "--out", "--iterations", "--crafting"} <= found.keys()
    for name, text in found.items():
        assert len(re.sub(r"\((default: .*|required)\)$", "", text).strip()) > 8, (name, text)


BAD: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    ((), ("adversarial, unadversarial, dlg", "see raypol relatives --help")),
    (("invisible", "PROOF"), ("invisible", "see raypol relatives --help")),
    (("adversarial",), ("Folder of the proof",)),
    (("adversarial", "/nowhere"), ("expected a proof folder",)),
    (("adversarial", "PROOF", "--index", "359"), ("0..358 (test points of digits), got 359",)),
    (("adversarial", "PROOF", "--index", "0", "-1"), ("got -1",)),
    (("dlg", "PROOF", "--index", "5000", "--split", "train"), ("0..1437", "got 5000")),
    (("dlg", "PROOF", "--at", "45"), ("recorded step (0, 30, 60), got 45",)),
    (("unadversarial", "PROOF", "--linf-limit", "8"), ("linf_limit in (0, 1]", "got 8")),
    (("adversarial", "PROOF", "--linf-limit", "0"), ("linf_limit in (0, 1]", "got 0")),
    (("adversarial", "PROOF", "--target", "10"), ("target in 0..9", "got 10")),
    (("adversarial", "PROOF", "--crafting", "select"), ("'lbfgs', 'signed', 'adam'",)),
    (("dlg", "PROOF", "--crafting", "signed"), ("'signed'", "'lbfgs', 'adam'")),
    (("dlg", "PROOF", "--restarts", "0"), ("restarts >= 1",)),
    (("adversarial", "PROOF", "--out", "OUT/x.jpg"), ("--out FILE.png or FILE.pdf", "x.jpg")),
    (("adversarial", "PROOF", "--out", "OUT"), ("--out FILE.png or FILE.pdf",)),
    (("adversarial", "PROOF", "--out", "/proc/x/y.png"), ("cannot write the figure",)),
    (("adversarial", "PROOF", "--device", "tpu:1:2"), ("unknown device",)),
    (("adversarial", "PROOF", "--dataset", "no_such_lab:load"), ("no_such_lab",)),
]


@pytest.mark.parametrize(("given", "said"), BAD, ids=[" ".join(given) or "nothing" for given, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(
    run: Run, proof: Path, tmp_path: Path, given: tuple[str, ...], said: tuple[str, ...]
) -> None:
    places = {"PROOF": str(proof), "OUT": str(tmp_path)}
    done = run(*(re.sub("PROOF|OUT", lambda found: places[found[0]], word) for word in given))
    assert_one_line(done, *said)
    assert list(tmp_path.iterdir()) == []


def test_a_proof_may_not_make_anyone_import_code(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["prove", "--model", "tests.toys:mlp", "--steps", "2", "--interval", "2", "--results", str(tmp_path)])
    (folder,) = (tmp_path / "proofs").glob("proof-*")
    assert_one_line(run("adversarial", folder), "code outside raypol", "--model tests.toys:mlp")
    assert run("adversarial", folder, "--model", "tests.toys:mlp").code == 0


# --- pictures --------------------------------------------------------------------------------------------------------


def seen(count: int, num_classes: int = 10) -> Seen:
    probabilities = torch.full((count, num_classes), 0.05).double()
    probabilities[:, -1] = 1.0 - 0.05 * (num_classes - 1)
    return Seen(probabilities=probabilities, losses=torch.full((count,), 1.23456789e-7).double())


def perturbed(count: int, shape: tuple[int, int, int], linf: float = 8 / 255) -> Perturbed:
    X = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(0)) / 255.0
    crafted = (X + linf).clamp(0.0, 1.0)
    rounded = (crafted * 255.0).round().to(torch.uint8)
    classes = seen(count)
    return Perturbed(
        originals=X,
        crafted=crafted,
        rounded=rounded,
        labels=torch.arange(count),
        before=classes,
        after=classes,
        after_rounding=classes,
    )


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 128, 96)])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_picture_of_points_is_well_laid(count: int, shape: tuple[int, int, int]) -> None:
    figure = perturbed_picture(perturbed(count, shape), "Adversarial example: a.very.long.package:model on other/D1@7")
    assert_well_laid(figure)
    assert sum(bool(ax.images) for ax in figure.axes) == 3 * min(count, 4)
    assert ("The first 4 of 6 points." in words(figure)) == (count == 6)
    assert "largest |R| = 8/255, shown 30 times" in words(figure)
    captions = {ax.get_title(): ax.get_xlabel() for ax in figure.axes}
    assert captions["original, label 0"] == "predicts 9 at 55.0%\nloss 1.23e-7"
    assert captions["R × 30"] == "|R|_inf = 8/255"


def test_no_perturbation_is_drawn_as_none() -> None:
    figure = perturbed_picture(perturbed(1, (1, 8, 8), linf=0.0), "Nothing")
    assert_well_laid(figure)
    assert "largest |R| = 0, shown 1 times" in words(figure)


@pytest.mark.parametrize(
    ("trace", "perfect"),
    [
        ((1.0,), False),
        ((1.0, 0.5), True),
        (tuple(0.9**i for i in range(300)), False),
        ((1.0, math.inf, 0.3, math.nan, 1e-12, 0.7), True),
    ],
    ids=["one evaluation", "two", "many", "wild"],
)
def test_the_picture_of_a_leak_is_well_laid(trace: tuple[float, ...], perfect: bool) -> None:
    truth = torch.rand((3, 32, 32), generator=torch.Generator().manual_seed(0))
    best = min(value for value in trace if math.isfinite(value))
    found = Recovered(
        image=truth if perfect else 1.0 - truth,
        label=7,
        objective=best,
        trace=trace,
        snapshots=tuple((at, truth * 0.5) for at in (0, 1, 2, 5, 10, 20, 50, 100, 200) if at < len(trace)),
        restarts=1,
    )
    figure = leak_picture(
        Leak(truth=truth, label=3, recovered=found), "Deep leakage from a gradient: resnet8 on digits"
    )
    assert_well_laid(figure)
    captions = {ax.get_title(): ax.get_xlabel() for ax in figure.axes}
    assert "truth, label 3" in captions
    assert ("PSNR inf dB" in captions["recovered, label 7"]) == perfect
    assert 2 <= sum(bool(ax.images) for ax in figure.axes) <= 6
    if len(trace) == 300:
        assert {"random start", "after 200"} <= captions.keys()
