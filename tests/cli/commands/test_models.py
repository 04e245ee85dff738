"""`raypol models`, and full-size models on the stand-in of CIFAR's shape from the command line."""

from pathlib import Path

import pytest

from raypol.cli.main import main
from raypol.core.models import MODELS
from tests.core.datasets.test_fashion_mnist import files_of_28, write


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def rows(out: str) -> dict[str, list[str]]:
    """The table's cells by the model's name."""
    lines = [line.split() for line in out.splitlines()]
    return {name: cells for name, *cells in filter(None, lines) if name in MODELS or (":" in name and len(cells) == 6)}


def test_every_built_in_model_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "models")
    assert code == 0
    found = rows(out)
    assert list(found) == list(MODELS)
    # 269,722 weights of four bytes; statistics of 19 norms over 688 channels, and a counter of eight bytes each.
    assert found["resnet20"] == ["269,722", "59", "1.079", "0.006", "1.079", "2.163"]
    assert found["resnet50"][:2] == ["23,528,522", "161"]


def test_channels_and_classes_can_be_told_and_own_models_are_added(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "tests.toys:mlp", "tests.toys:group_norm_net", "--in-channels", "1", "--num-classes", "7")
    code, out, _ = run(capsys, "models", *words)
    assert code == 0
    assert list(rows(out)) == [*MODELS, "tests.toys:mlp", "tests.toys:group_norm_net"]
    assert "images of 1 channels and 7 classes" in out
    assert rows(out)["resnet20"][0] == f"{269_722 - 2 * 9 * 16 - 3 * 65:,}"


def test_parameters_that_no_gradient_reaches_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "tests.core.models.test_rehearsal:fine", "--in-channels", "1", "--image-size", "8")
    code, _, err = run(capsys, "models", *words)
    assert code == 0
    assert "warning: tests.core.models.test_rehearsal:fine: no gradient reaches unused.weight, unused.bias; such" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "tests.toys:unlawful"), "no initial law known for template"),
        (("--model", "tests.toys:no_such_model"), "cannot import"),
        (
            ("--model", "tests.core.models.test_rehearsal:pair", "--in-channels", "1", "--image-size", "8"),
            "returns a tuple",
        ),
        (("--model", "tests.core.models.test_rehearsal:fine"), "on 2 images of 3x32x32: RuntimeError: mat1 and mat2"),
        (("--image-size", "0"), "expected --image-size in 1..4096, got 0"),
        (("--model", "resnet21"), "unknown model 'resnet21'"),
        (("--in-channels", "0"), "expected at least one channel"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "models", *words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_resnet20_is_proved_and_verified_on_the_stand_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data, files_of_28(64))
    words = ("--dataset", "fashion_mnist_32x32x3", "--model", "resnet20", "--steps", "4", "--interval", "2")
    code, out, err = run(
        capsys,
        "prove",
        *words,
        "--batch-size",
        "32",
        "--rotation-degrees",
        "15",
        "--data-dir",
        data,
        "--results",
        tmp_path,
    )
    assert code == 0, err
    assert "resnet20 on fashion_mnist_32x32x3, 4 steps" in out, "it is named as what it is"
    code, out, err = run(capsys, "verify", out.splitlines()[-1], "--data-dir", data)
    assert code == 0, out + err
