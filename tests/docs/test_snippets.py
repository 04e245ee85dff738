"""Code of README and docs/ runs, and the commands that they name are understood.

A Python block that begins with a comment `# name.py` is written to a file of that name and imported, any other is executed;
blocks of a page share a folder. A sh block below `<!-- run -->` is run, with exit codes 0 or those that follow `run:`; in any
other, command lines of raypol and of sweep files are parsed by the real parsers without being run.
"""

import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from raypol.cli import main as command_line
from raypol.cli import sweep as sweep_line
from tests.docs.pages import PAGES, ROOT, Block, blocks, title

SWEEPS = {"my_sweep.py": (60, 6), "my_attack_sweep.py": (8, 8)}
"""Sweep file -> trials at paper size and at smoke size."""
WITH_CODE = [page for page in PAGES if any(b.language == "python" or b.mark.startswith("run") for b in blocks(page))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; its modules can be imported, and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", WITH_CODE, ids=title)
def test_code_of_a_page_runs(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for block in blocks(page):
        if block.language == "python" and (file := re.match(r"# (\w+)\.py\n", block.text)):
            (folder / f"{file[1]}.py").write_text(block.text)
            importlib.invalidate_caches()
            importlib.import_module(file[1])
        elif block.language == "python":
            (folder / "snippet.py").write_text(block.text)
            names = runpy.run_path("snippet.py", init_globals=names)
        elif block.mark.startswith("run"):
            _run(block, variables, capsys)


def _run(block: Block, variables: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run the lines of a block in this process; `NAME=$(... | tail -1)` keeps the last line printed."""
    codes = [int(code) for code in re.findall(r"\d", block.mark)] or [0] * len(block.commands)
    for line, code in zip(block.commands, codes, strict=True):
        kept = re.fullmatch(r"(\w+)=\$\((.*) \| tail -1\)", line)
        program, *words = shlex.split(re.sub(r"\$(\w+)", lambda name: variables[name[1]], kept[2] if kept else line))
        assert program == "raypol", line
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line.main(words)
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, f"{line}\n{said.out}{said.err}"
        if kept:
            variables[kept[1]] = said.out.splitlines()[-1]


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_of_a_page_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (command_line, sweep_line):
        monkeypatch.setattr(module, "guarded", lambda _run, **_options: 0)
    inline = re.findall(r"`((?:raypol|python sweeps/)[^`\n]*)`", page.read_text())
    for line in [*(line for b in blocks(page, "sh") for line in b.commands), *inline]:
        command = re.sub(r"^\w+=\$\((.*) \| tail -1\)$", r"\1", line)
        for file in re.findall(r"(?:sweeps|dashboards)/[\w./]+", command):
            assert (ROOT / file).is_file(), line
        words = _arguments(command)
        if words is None:
            continue
        parse = command_line.main if words[0] == "raypol" else partial(sweep_line.run_sweep, _sweep_of(words[0]))
        with pytest.raises(SystemExit) as ended:
            parse(words[1:])
        assert not ended.value.code, f"{title(page)}: {line}"


def _arguments(command: str) -> Sequence[str] | None:
    """Program and arguments of a whole command line of raypol or of a sweep file; None for anything else."""
    words = shlex.split(command)
    if "python" in words:
        words = words[words.index("python") + 1 :]
        return words if words[0].startswith("sweeps/") else None
    return words if words[0] == "raypol" and len(words) > 2 and "..." not in words else None


def _sweep_of(file: str) -> Any:  # noqa: ANN401 - a sweep file's module has no type
    return importlib.import_module(file.removesuffix(".py").replace("/", ".")).SWEEP


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/sweeps.md", ROOT / "docs/extending.md"], ids=title)
def test_a_sweep_file_plans_both_sizes(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(page, "python"):
        if file := re.match(r"# (\w+\.py)\n", block.text):
            (folder / file[1]).write_text(block.text)
    (name,) = {path.name for path in folder.iterdir()} & set(SWEEPS)
    module = importlib.import_module(name.removesuffix(".py"))
    for size, trials in zip(("paper", "smoke"), SWEEPS[name], strict=True):
        with pytest.raises(SystemExit) as ended:
            sweep_line.run_sweep(module.SWEEP, ["--size", size, "--dry-run", "--address", "local"])
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        assert f"{trials} trials" in said.out


def test_the_example_of_a_dataset_takes_fifteen_lines() -> None:
    (example,) = (b for b in blocks(ROOT / "docs/extending.md", "python") if b.text.startswith("# my_data.py"))
    assert len([line for line in example.text.splitlines() if line]) <= 15


def test_a_proof_goes_to_the_published_layout_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(command: str) -> str:
        with pytest.raises(SystemExit) as ended:
            command_line.main(command.split()[1:])
        assert not ended.value.code, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()[-1]

    (block,) = blocks(ROOT / "docs/published-layout.md", mark="round trip")
    export, bring, verify = block.commands
    proof = run("raypol prove --steps 20 --interval 10 --lr 0.01 --results results")
    run(export.replace("PROOF_DIR", proof))
    assert (folder / "published_proof" / "model_step_20").is_file()
    assert "ACCEPTED" in run(verify.replace("IMPORTED_DIR", run(bring)))


def test_the_relatives_do_what_is_said_of_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(ROOT / "docs/relatives.md", mark="relatives")
    said, proof = {}, ""
    for line in block.commands:
        words = [proof if word == "PROOF_DIR" else word for word in line.split()[1:]]
        with pytest.raises(SystemExit) as ended:
            command_line.main(words)
        assert ended.value.code == 0, line
        said[words[1]] = capsys.readouterr().out
        proof = proof or said[words[1]].splitlines()[-1]
    assert re.search(r"flipped: [12] by X \+ R, [12] by X \+ R rounded", said["adversarial"])
    assert re.search(r"loss fell after rounding: 2", said["unadversarial"])
    (quality,) = re.findall(r"PSNR +([0-9.]+) dB", said["dlg"])
    assert float(quality) > 20.0
    assert re.search(r"label +5, true 5", said["dlg"])
    pictures = sorted(path.name for path in (folder / "docs/images").iterdir())
    assert pictures == sorted(re.findall(r"\]\(images/([^)]+)\)", (ROOT / "docs/relatives.md").read_text()))


def test_python_examples_use_the_public_interface_alone() -> None:
    for page in (ROOT / "README.md", ROOT / "docs/sweeps.md", ROOT / "docs/tutorial.md"):
        for block in blocks(page, "python"):
            assert not re.search(r"\braypol\.\w+", block.text), title(page)
