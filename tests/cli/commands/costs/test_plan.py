"""`raypol plan` at the command line."""

from pathlib import Path

import pytest

from raypol.cli.commands.costs.plan import sweep_file
from raypol.cli.main import main
from raypol.core.errors import InputError


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["plan", *arguments])
    printed = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.out, printed.err


def test_a_plan_says_what_it_is_and_how_it_was_obtained(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "fig05", "--gpu", "V100")
    assert code == 0
    assert "63 trials. Estimated, nothing was run." in out
    for part in ("honest proofs", "references for d_ref", "null", "infinitesimal", "III", "in all"):
        assert f"\n{part}" in out
    assert "assumed: 30% of V100's peak of 15.7 TFLOP/s in float32" in out
    assert "honest steps per second of resnet20 on cifar10, batch 128, V100" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("fig05",), "no throughput is known for 'gpu': name a GPU with --gpu"),
        (("fig05", "--gpu", "Voodoo2"), "no throughput is known for 'Voodoo2'"),
        (("fig0", "--gpu", "V100"), "got 'fig0', which fits fig02_attack2_cifar10 and fig03"),
        (("fig99", "--gpu", "V100"), "got 'fig99', which fits none"),
        (("fig05", "--gpu", "V100", "--measure"), "three ways to one rate"),
        (("fig05", "--steps-per-s", "0"), "expected --steps-per-s > 0"),
        (("fig05", "--gpu", "V100", "--num-gpus", "0"), "expected --num-gpus"),
        (("README.md", "--gpu", "V100"), "README.md cannot be run"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.strip().splitlines()) == 1


def test_an_experiment_is_a_file_or_the_beginning_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep_file("fig05").name == "fig05_attack3_cifar10.py"
    assert sweep_file("quickstart").name == "quickstart.py"
    assert sweep_file("sweeps/quickstart.py").name == "quickstart.py"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="which is not here"):
        sweep_file("fig05")
