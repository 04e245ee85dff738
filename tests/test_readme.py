"""The README's code runs, and its claims about files hold."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raypol.cli.main import main
from raypol.core.datasets.load import DATASETS

README = (Path(__file__).parent.parent / "README.md").read_text()
RAYPOL = Path(sys.executable).parent / "raypol"


def block_with(words: str) -> str:
    """The one example that says this."""
    (found,) = (block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if words in block)
    return str(found)


def test_the_example_without_ray_runs_and_accepts_the_honest_proof(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block_with("MemoryProof"))
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "True" in lines[1:3]
    assert "ray" not in done.stderr


def test_own_model_and_dataset_are_proved_and_verified_by_import_path(tmp_path: Path) -> None:
    for name in ("my_lab.py", "my_data.py"):
        (tmp_path / name).write_text(block_with(f"# {name}"))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    images = (rng.integers(0, 128, (600, 12, 12, 3)) + 32 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "scans.npz", images=images, labels=labels)
    names = ["--model", "my_lab:make_net", "--dataset", "my_data:load"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([RAYPOL, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)

    proved = run("prove", *names, "--steps", "60", "--interval", "20", "--batch-size", "32", "--results", "results")
    assert proved.returncode == 0, proved.stderr
    folder = proved.stdout.splitlines()[-1]
    assert (tmp_path / folder / "manifest.json").is_file()
    assert run("verify", folder, *names).returncode == 0
    refused = run("verify", folder)
    assert refused.returncode == 2
    assert "code outside raypol" in refused.stderr
    listed = run("models", *names[:2])
    assert listed.returncode == 0, listed.stderr
    assert "my_lab:make_net" in listed.stdout


def test_the_example_of_a_dataset_takes_fifteen_lines() -> None:
    assert len([line for line in block_with("# my_data.py").splitlines() if line]) <= 15


def test_the_table_of_datasets_names_all_of_them() -> None:
    (table,) = re.findall(r"## Datasets\n\n(.*?)\n\n", README, flags=re.DOTALL)
    assert set(re.findall(r"`(\w+)`", "\n".join(row.split(" | ")[0] for row in table.splitlines()[1:]))) == set(
        DATASETS
    )


def test_the_example_of_a_sweep_plans_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "my_sweep.py").write_text(block_with("# my_sweep.py"))
    for size, trials in (("paper", 60), ("smoke", 6)):
        words = [sys.executable, "my_sweep.py", "--size", size, "--dry-run", "--address", "local"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        assert f"{trials} trials" in done.stdout


def test_a_proof_goes_to_the_published_layout_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(command.split())
        assert not ended.value.code, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()[-1]

    wanted = "export --layout published PROOF_DIR p|import --layout published p|verify IMPORTED_DIR"
    export, bring, verify = re.findall(rf"^    raypol ((?:{wanted}).*)", README, re.MULTILINE)
    proof = run("prove --steps 20 --interval 10 --lr 0.01 --results results")
    run(export.replace("PROOF_DIR", proof))
    assert (tmp_path / "published_proof" / "model_step_20").is_file()
    assert "ACCEPTED" in run(verify.replace("IMPORTED_DIR", run(bring)))


def test_the_relatives_do_what_is_said_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the gallery, in this process."""
    monkeypatch.chdir(tmp_path)
    section = README.partition("## Relatives")[2].partition("\n## ")[0]
    said, folder = {}, ""
    for line in re.findall(r"^    raypol (.*?)(?: +#.*)?$", section, flags=re.MULTILINE):
        words = [folder if word == "PROOF_DIR" else word for word in line.split()]
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, line
        said[words[1]] = capsys.readouterr().out
        folder = folder or said[words[1]].splitlines()[-1]
    assert re.search(r"flipped: [12] by X \+ R, [12] by X \+ R rounded", said["adversarial"])
    assert re.search(r"loss fell after rounding: 2", said["unadversarial"])
    (quality,) = re.findall(r"PSNR +([0-9.]+) dB", said["dlg"])
    assert float(quality) > 20.0
    assert re.search(r"label +5, true 5", said["dlg"])
    pictures = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "docs").iterdir())
    assert pictures == sorted(re.findall(r"\]\((docs/[^)]+)\)", section))


@pytest.mark.parametrize("name", re.findall(r"\]\((docs/[^)]+)\)", README))
def test_pictures_are_there(name: str) -> None:
    assert (Path(__file__).parent.parent / name).stat().st_size > 10_000


def test_every_make_target_named_is_there() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_plan_shown_is_the_one_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = re.findall(r"<!-- plan output -->\n```text\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main(["plan", "fig05", "--gpu", "V100"])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "\n".join(lines).startswith(shown.rstrip())


def test_every_sweep_named_is_there() -> None:
    sweeps = Path(__file__).parent.parent / "sweeps"
    named = set(re.findall(r"sweeps/(\w+\.py)", README))
    assert named <= {path.name for path in sweeps.glob("*.py")} | {"x.py"}
    assert {path.name[:5] for path in sweeps.glob("fig*.py")} == set(re.findall(r"\b(fig\d\d)_", README))
