"""The command line: the issue's spellings, exit codes that tell the truth, one line for bad input and nothing left behind."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypol.cli.commands.spoof import SpoofCommand
from raypol.cli.exit_codes import usage_error
from raypol.cli.main import COMMANDS, find_command, main
from raypol.core.attacks import PRESETS
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.train_config import TrainConfig
from raypol.runs.published.import_options import Claims
from raypol.runs.sweeps.forecast import Forecaster

RAYPOL = str(Path(sys.executable).parent / "raypol")
NESTED: dict[str, list[type[Any]]] = {
    "prove": [TrainConfig],
    "calibrate": [TrainConfig],
    "spoof": [*dict.fromkeys(map(type, PRESETS.values())), SpoofConfig, TrajectoryConfig],
    "import": [Claims],
    "plan": [Forecaster],
}
"""Configurations whose fields are options of a command."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """What a script reads."""
        return self.out.splitlines()[-1]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run(*words: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        code = ended.value.code
        return Ran(code=code if isinstance(code, int) else 0, out=said.out, err=said.err)

    return run


def launch(*words: str | Path, folder: Path | None = None) -> Ran:
    """Run the console script as a user does."""
    done = subprocess.run(
        [RAYPOL, *map(str, words)], capture_output=True, text=True, check=False, timeout=600, cwd=folder
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change; locks hold nothing."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


PROVE = ("prove", "--dataset", "digits", "--steps", "40", "--interval", "10", "--seed", "0")
ANY_INTERVAL = ("--grants", "usual", "interval")
SPOOF = ("--attack", "iii_invisible", "--steps", "10", "--interval", "5", *ANY_INTERVAL)


@dataclass(frozen=True, kw_only=True)
class Made:
    """An honest proof, one from another seed, and a spoof."""

    results: Path
    proof: Path
    other: Path
    spoof: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made by the console script, spelled as in the issue. Do not change it: take `proof`."""
    results = tmp_path_factory.mktemp("made")
    proved = launch(*PROVE, "--results", results)
    assert proved.code == 0, proved.err
    said = StringIO()
    with pytest.raises(SystemExit), redirect_stdout(said):
        main([*PROVE[:-1], "1", "--results", str(results)])
    spoofed = launch("spoof", proved.last, *SPOOF, "--results", results)
    assert spoofed.code == 0, spoofed.err
    return Made(
        results=results, proof=Path(proved.last), other=Path(said.getvalue().splitlines()[-1]), spoof=Path(spoofed.last)
    )


@pytest.fixture
def proof(made: Made, tmp_path: Path) -> Path:
    """A copy of the honest proof's folder, elsewhere, to damage."""
    return Path(shutil.copytree(made.proof, tmp_path / "copied"))


# --- what works ------------------------------------------------------------------------------------------------------


def test_prove_and_spoof_print_their_folders_last(made: Made) -> None:
    for folder in (made.proof, made.other, made.spoof):
        assert folder.parent == made.results / "proofs"
        assert (folder / "manifest.json").is_file()
    assert len({made.proof, made.other, made.spoof}) == 3


def test_nothing_but_proofs_and_locks_is_left(made: Made) -> None:
    assert {path.split("/")[0] for path in snapshot(made.results)} == {"proofs"}


@pytest.mark.parametrize(
    ("which", "words", "code"),
    [
        ("proof", (), 0),
        ("proof", ("--policy", "strict"), 0),
        ("proof", ("--policy", "published", "--augmentation", "recorded"), 0),
        ("proof", ("--delta-l1", "0", "--delta-l2", "0", "--delta-linf", "0", "--delta-cos", "0"), 0),
        ("proof", ("--delta-l2", "0", "--augmentation", "fresh", "--thresholds", "static"), 1),
        ("proof", ("--augmentation", "fresh"), 2),
        ("proof", ("--thresholds", "static"), 2),
        ("proof", ("--root", "0" * 64), 1),
        ("proof", ("--select", "top_q", "--query-budget", "2"), 0),
        ("proof", ("--select", "random"), 0),
        ("proof", ("--precision", "float64"), 0),
        ("spoof", ("--policy", "strict"), 1),
    ],
)
def test_verify_exits_0_when_it_accepts_and_1_when_it_rejects(
    run: Run, made: Made, which: str, words: tuple[str, ...], code: int
) -> None:
    before = snapshot(made.results)
    ran = run("verify", getattr(made, which), *words)
    assert ran.code == code, ran.out + ran.err
    if ran.err.count("error: "):
        assert code == 2
        assert "policy strict is not calibrated for fresh augmentation" in ran.err
    else:
        assert ("ACCEPTED", "REJECTED by ", "NOT CALIBRATED: ")[code] in ran.out
    assert snapshot(made.results) == before, "asking changes nothing"


def test_the_nonce_is_fresh_printed_and_repeats_the_verdict(run: Run, made: Made) -> None:
    words = ("--augmentation", "fresh", "--select", "random", "--policy", "published", "--delta-linf", "9")
    first, second = (run("verify", made.proof, *words).out for _ in range(2))
    nonces = [re.findall(r"nonce (\d+): give it with --nonce", out) for out in (first, second)]
    assert len({*nonces[0], *nonces[1]}) == 2
    again = run("verify", made.proof, *words, "--nonce", nonces[0][0]).out
    in_time = re.compile(r"in [0-9.]+ s")
    assert in_time.sub("", again) == in_time.sub("", first)
    assert "2 of 4 intervals were not replayed: nothing is established about them" in first
    assert "nonce" not in run("verify", made.proof).out, "nothing is drawn"


def test_a_spoof_from_other_data_is_verified_with_them(run: Run, made: Made, tmp_path: Path) -> None:
    words = ("--attack", "null", "--steps", "10", "--dataset", "digits/D2", "--results", tmp_path)
    spoofed = run("spoof", made.proof, *words)
    assert spoofed.code == 0, spoofed.err
    loose = ("--delta-l1", "1e9", "--delta-l2", "1e9", "--delta-linf", "1e9", "--delta-cos", "2")
    ran = run("verify", spoofed.last, "--policy", "published", *loose)
    assert ran.code == 0, ran.out + ran.err
    assert "on digits/D2, 10 steps" in ran.out
    ran = run("verify", spoofed.last, "--dataset", "digits")
    assert ran.code == 2
    assert "about dataset 'digits/D2'; expected 'digits'" in ran.err


@pytest.mark.parametrize("kind", ["relative", "dynamic"])
def test_relative_thresholds_with_their_reference(run: Run, made: Made, kind: str) -> None:
    words = ("verify", made.proof, "--thresholds", kind, "--reference", made.proof, made.other)
    ran = run(*words, "--policy", "published")
    assert ran.code == 0, ran.out + ran.err
    assert f"{kind} thresholds" in ran.out
    ran = run(*words)  # late moves are smaller than any share of d_ref
    assert ran.code == 2
    assert "a replay that goes nowhere passes" in ran.out


def test_a_copied_folder_verifies_elsewhere(
    run: Run, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.proof, "here")
    assert run("verify", "here", "--policy", "strict").code == 0
    shutil.copytree(made.spoof, "there")
    assert launch("verify", "there", "--policy", "strict", folder=tmp_path).code == 1


@pytest.mark.parametrize("words", [(*PROVE,), ("spoof", "PROOF", *SPOOF)], ids=["prove", "spoof"])
def test_what_is_there_is_not_made_again(run: Run, made: Made, words: tuple[str, ...]) -> None:
    before = snapshot(made.results)
    ran = run(*(str(made.proof) if word == "PROOF" else word for word in words), "--results", made.results)
    assert ran.code == 0
    assert "it was there already; nothing was computed" in ran.out
    assert ran.last == str(made.proof if words[0] == "prove" else made.spoof)
    assert snapshot(made.results) == before


def test_the_spoof_has_the_strength_that_was_asked(run: Run, made: Made, tmp_path: Path) -> None:
    words = (
        "--attack",
        "iii_invisible",
        "--steps",
        "6",
        "--interval",
        "3",
        "--linf-limit",
        "0.01",
        "--iterations",
        "1",
        *ANY_INTERVAL,
    )
    ran = run("spoof", made.proof, *words, "--path", "eased", "--carry", "restart", "--results", tmp_path)
    assert ran.code == 0, ran.err
    assert "searches         2, 2 accepted" in ran.out
    (largest,) = re.findall(r"largest \|R\|_inf ([0-9.]+)/255", ran.out)
    assert 0 < float(largest) <= 3.1  # 0.01 of 255, and rounding to whole grey levels
    manifest = json.loads(Path(ran.last, "manifest.json").read_text())
    assert manifest["checkpoint_steps"] == [0, 3, 6]


def test_relative_results_are_printed_as_they_were_given(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*PROVE, "--results", "my results [1]")
    assert ran.last.startswith("my results [1]/proofs/proof-")
    verified = run("verify", ran.last)
    assert verified.code == 0
    assert "my results [1]/proofs/proof-" in verified.out


def test_the_same_spoof_asked_twice_at_once_is_made_once(made: Made, tmp_path: Path) -> None:
    spoof = SpoofConfig(steps=20, interval=10)
    quick = {"iterations": 1, "retries": 0}
    asked = SpoofCommand(
        proof_dir=str(made.proof), attack="iii_invisible", attack_config=quick, spoof=spoof, results=str(tmp_path)
    )
    with ThreadPoolExecutor(3) as pool:
        assert [future.result() for future in [pool.submit(asked.run) for _ in range(3)]] == [0, 0, 0]
    (folder,) = (tmp_path / "proofs").iterdir()
    assert {path.split("/")[0] for path in snapshot(tmp_path)} == {"proofs"}
    assert (folder / "manifest.json").is_file()


def test_an_own_attack_by_import_path(run: Run, made: Made, tmp_path: Path) -> None:
    ran = run("spoof", made.proof, "--attack", "tests.scenes:INVERT", "--steps", "10", "--results", tmp_path)
    assert ran.code == 0, ran.err
    assert run("verify", ran.last).code == 1


def test_cluster_shows_this_machine(run: Run) -> None:
    ran = run("cluster")
    assert ran.code == 0
    assert "this machine" in ran.out
    assert "devices to ask for with --device: cpu" in ran.out


def test_version(run: Run) -> None:
    ran = run("--version")
    assert (ran.code, ran.out.startswith("raypol 0.")) == (0, True)


# --- help ------------------------------------------------------------------------------------------------------------


def options(text: str) -> dict[str, str]:
    """Every option of a help text with its explanation, which starts on the same line or, after a long name, on the next."""
    found: dict[str, str] = {}
    name = ""
    for line in re.sub(r"[─-╿]|-{8,}", " ", text).splitlines():
        if re.match(r" {1,3}(--?[a-z]|[A-Z_]+ |[A-Z_]+$)", line):
            invocation, _, rest = line.strip().partition("  ")
            name = re.split(r"[ ,]", invocation)[0]
            found[name] = rest.strip()
        elif line.startswith("     ") and name:
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif line.strip():
            name = ""  # a heading
    return found


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "relatives"])
def test_help_explains_every_option_and_gives_its_default(run: Run, command: str) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert ran.err == ""
    found = options(ran.out)
    found.pop("-h")
    if command not in ("range", "arena"):  # they have options by prefix
        nested = {"train", "attack_config", "spoof", "trajectory", "claims", "rate"} if command in NESTED else set()
        known = {
            f.name for config in (find_command(command), *NESTED.get(command, [])) for f in fields(config)
        } - nested
        assert {name.lstrip("-").replace("-", "_").lower() for name in found} == known
    for name, text in found.items():
        explanation = re.sub(r"\((default: .*|required)\)$", "", text).strip()
        assert len(explanation) > 8, (name, text)
        assert re.search(r"\((default: .*|required)\)$", text), (name, text)


def test_help_names_the_commands(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert re.search(rf"• {command} +[A-Z]", ran.out), command


def test_help_names_every_attack(run: Run) -> None:
    words = run("spoof", "--help").out
    for name in PRESETS:
        assert re.search(rf"\b{name}\b", words), name


def test_hyperparameters_are_those_of_the_attacks_and_say_whose(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    found = options(run("spoof", "--help").out)
    assert found["--iterations"] == "[amortized, i, i_tail, ii, iii] Iterations of the search. (default: the preset's)"
    assert found["--momentum"].startswith("[forged_momentum] ")
    for config in PRESETS.values():
        attack = type(config).__module__.rpartition(".")[2]
        for f in fields(config):
            owners, _, text = found[f"--{f.name.replace('_', '-')}"].partition("] ")
            assert attack in owners.strip("[").split(", ")
            assert len(text) > len("(default: the preset's)") + 8


# --- bad input -------------------------------------------------------------------------------------------------------


def assert_one_line(ran: Ran, *fragments: str) -> None:
    assert ran.code == 2, ran.out + ran.err
    lines = ran.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, ran.err
    # A long run may have told its progress before; nothing else is said.
    assert [line for line in lines if not re.match(r"\[ *[0-9.]+ s\] ", line)] == errors
    for fragment in fragments:
        assert fragment in errors[0]
    assert "Traceback" not in ran.out + ran.err


EVERY = ", ".join(COMMANDS)
"""In the order of the help."""

USAGE: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (
        (),
        (
            EVERY,
            "see raypol --help",
        ),
    ),
    (
        ("forge",),
        (
            "Unrecognized options: forge",
            EVERY,
            "see raypol --help",
        ),
    ),
    (("prove", "--stepz", "3"), ("--stepz", "perhaps you meant --steps", "see raypol prove --help")),
    (("prove", "--datset", "x"), ("--datset", "perhaps you meant --dataset", "see raypol prove --help")),
    (("prove", "--steps", "abc"), ("--steps", "'abc'", "INT", "see raypol prove --help")),
    (("prove", "--steps"), ("Missing value for argument '--steps'", "see raypol prove --help")),
    (("prove", "--lr", "fast"), ("--lr", "FLOAT", "'fast'")),
    (("prove", "--runner", "slurm"), ("'slurm'", "'local', 'ray'", "see raypol prove --help")),
    (("prove", "surplus"), ("surplus", "see raypol prove --help")),
    (("spoof",), ("raypol spoof", "Folder of the proof", "see raypol spoof --help")),
    (("spoof", "x", "--crafting", "magic"), ("'magic'", "'signed'", "see raypol spoof --help")),
    (("spoof", "x", "--path", "curved"), ("'curved'", "'eased'")),
    (("verify", "x", "--select", "some"), ("'some'", "all", "top_q", "random", "see raypol verify --help")),
    (("verify", "x", "--reference", "y"), ("--reference",)),
    (("cluster", "--adress", "x"), ("perhaps you meant --address", "see raypol cluster --help")),
]


@pytest.mark.parametrize(("words", "fragments"), USAGE, ids=[" ".join(words) or "nothing" for words, _ in USAGE])
def test_a_wrong_command_line_is_one_line(run: Run, words: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    ran = run(*words)
    assert ran.out == ""
    assert_one_line(ran, *fragments)
    assert not re.search(r"[─-╿]|  ", ran.err)


@pytest.mark.parametrize("columns", ["20", "40", "1000"])
def test_the_width_of_the_terminal_does_not_matter(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert_one_line(
        run("prove", "--stepz", "3"), "Unrecognized options: --stepz, 3; perhaps you meant --steps; see raypol"
    )


def test_a_box_that_is_not_known_is_still_told() -> None:
    assert usage_error("╭─ New title ─╮\n│ Something   │\n│ went wrong. │\n╰─────────────╯") == "Something went wrong"
    assert usage_error("") == ""


MODELS = "tests.core.models.test_rehearsal"

INPUT: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    ((*PROVE, "--dataset", "cifar"), ("unknown dataset 'cifar'", "digits, fashion_mnist")),
    ((*PROVE, "--dataset", "no_such_package:load"), ("cannot import 'no_such_package:load'",)),
    ((*PROVE, "--dataset", "fashion_mnist", "--data-dir", "/nowhere"), ("train-images-idx3-ubyte", "/nowhere")),
    ((*PROVE, "--model", "resnet9"), ("unknown model 'resnet9'", "resnet8, resnet20")),
    ((*PROVE, "--model", f"{MODELS}:pair"), (f"error: model {MODELS}:pair returns a tuple, expected logits",)),
    ((*PROVE, "--model", f"{MODELS}:raising"), ("RuntimeError: no weights for 1 channels (test_rehearsal.py, line ",)),
    ((*PROVE, "--model", f"{MODELS}:batch_norm", "--batch-size", "1"), ("on 2 it can: give --batch-size 2 or more",)),
    ((*PROVE, "--model", f"{MODELS}:view", "--memory-format", "channels_last"), ("give --memory-format auto",)),
    ((*PROVE, "--optimizer", "LBFGS"), ("evaluates the loss several times", "possible: ASGD")),
    ((*PROVE, "--optimizer", "Rprop", "--weight-decay", "1e-4"), ("Rprop has no weight_decay", "leave it out")),
    ((*PROVE, "--optimizer", "sgd"), ("unknown optimizer 'sgd'", "SGD")),
    ((*PROVE, "--interval", "0"), ("error: expected interval (k) in 1..", "got 0")),
    ((*PROVE, "--interval", "-3"), ("interval (k) in 1..", "got -3")),
    ((*PROVE, "--interval", "41"), ("interval k = 41", "got 40")),
    ((*PROVE, "--batch-size", "1439"), ("batch_size in 1..1438", "got 1439")),
    ((*PROVE, "--batch-size", "0"), ("batch_size in 1..", "got 0")),
    ((*PROVE[:-2], "--seed", "-1"), ("expected seed in 0..9223372036854775807, got -1",)),
    ((*PROVE[:-2], "--seed", str(2**63)), ("expected seed in 0..9223372036854775807, got 9223372036854775808",)),
    ((*PROVE, "--dataset", f"digits/D1@{2**63}"), ("expected the seed of digits/D1@9223372036854775808 in 0..",)),
    ((*PROVE, "--batch-size", str(2**63)), ("batch_size in 1..", "got 9223372036854775808")),
    ((*PROVE, "--lr", "-1"), ("lr", ">= 0", "-1")),
    ((*PROVE, "--lr", "nan"), ("lr", "nan")),
    ((*PROVE, "--lr", "1e30"), ("training diverged", "a learning rate at which")),
    ((*PROVE, "--lr-drops", "2"), ("lr_drops", "(0, 1)")),
    ((*PROVE, "--device", "cpu:0"), ("'cpu:0'", "whole number of CPU cores >= 1")),
    ((*PROVE, "--device", "cpu:512"), ("no live node offers cpu:512", "CPU")),
    ((*PROVE, "--device", "T4 "), ("no live node offers", "there is")),
    ((*PROVE, "--device", "a,b"), ("unknown device 'a,b'", "cpu:2, gpu")),
    (("spoof", "PROOF", "--attack", "iv"), ("unknown attack 'iv'", "iii_invisible")),
    (("spoof", "PROOF", "--attack", "os:path"), ("os:path", "AttackMethod")),
    (("spoof", "PROOF", "--attack", "null", "--alpha", "1"), ("'null' has no field alpha", "it has no fields")),
    (("spoof", "PROOF", "--attack", "ii", "--lr", "1"), ("has no field lr", "possible: crafting, iterations")),
    (("spoof", "PROOF", *SPOOF, "--iterations", "0"), ("iterations >= 1",)),
    (("spoof", "PROOF", *SPOOF, "--linf-limit", "2"), ("linf_limit in (0, 1]", "got 2")),
    (("spoof", "PROOF", "--attack", "iii", "--crafting", "signed"), ("linf_limit", "step_size")),
    (("spoof", "PROOF", *SPOOF, "--interval", "11"), ("interval k = 11", "got 10")),
    (("spoof", "PROOF", *SPOOF, "--interval", "0"), ("interval (k) in 1..",)),
    (("spoof", "PROOF", *SPOOF, "--batch-size", "2000"), ("batch_size in 1..1438",)),
    (("spoof", "PROOF", *SPOOF, "--batch-size", "-1"), ("batch_size in 0..",)),
    (("spoof", "PROOF", *SPOOF, "--seed", str(2**63)), ("expected seed in 0..",)),
    (("spoof", "PROOF", *SPOOF, "--steps", str(2**63)), ("steps (T') in 1..",)),
    (("spoof", "PROOF", *SPOOF, "--path", "eased", "--ease", "0"), ("ease >= 1",)),
    (("spoof", "/nowhere", *SPOOF), ("/nowhere", "expected a proof folder (RESULTS/proofs/<proof_id>)")),
    (("spoof", "nonsense://x", *SPOOF), ("cannot open 'nonsense://x'", "s3:// or gs://")),
    (("verify", "/nowhere"), ("/nowhere", "expected a proof folder")),
    (("verify", "RESULTS"), ("expected a proof folder", "no manifest.json")),
    (("verify", "PROOF", "--policy", "lenient"), ("unknown policy 'lenient'", "published, strict, strict_trend")),
    (
        ("verify", "PROOF", "--thresholds", "relative"),
        ("relative thresholds need d_ref", "--reference PROOF_A PROOF_B"),
    ),
    (("verify", "PROOF", "--thresholds", "dynamic"), ("dynamic thresholds need d_ref", "--reference")),
    (("verify", "PROOF", "--reference", "PROOF", "PROOF"), ("differ only in seed",)),
    (("verify", "PROOF", "--reference", "PROOF", "SPOOF"), ("differ only in seed",)),
    (("verify", "PROOF", "--reference", "PROOF", "/nowhere"), ("expected a proof folder",)),
    (("verify", "PROOF", "--delta-l2", "-1"), ("l2 >= 0", "got -1")),
    (("verify", "PROOF", "--delta-l2", "nan"), ("l2 >= 0", "got nan")),
    (("verify", "PROOF", "--dataset", "fashion_mnist"), ("about dataset 'digits'", "'fashion_mnist'")),
    (("verify", "PROOF", "--nonce", "-1"), ("expected nonce in 0..9223372036854775807, got -1",)),
    (("relatives", "dlg", "PROOF", "--seed", str(2**63)), ("expected seed in 0..",)),
    (("range", "--seeds", "0", str(2**63)), ("expected seed in 0..",)),
    (("range", "--train.model", f"{MODELS}:pair", "--seeds", "0"), ("returns a tuple, expected logits",)),
    (("demo", "--seed", str(2**63)), ("expected seed in 0..",)),
    (("verify", "PROOF", "--select", "random", "--query-budget", "0"), (">= 1", "0")),
    (("spoof", "PROOF", "--dataset", "digits/D3"), ("unknown dataset 'digits/D3'", "digits/D1")),
    (("cluster", "--address", "127.0.0.1:9"), ("cannot reach a Ray cluster at '127.0.0.1:9'", "host:port")),
    (("demo", "--results", "s3x://nowhere/"), ("cannot open 's3x://nowhere/'",)),
]


@pytest.mark.parametrize(("words", "fragments"), INPUT, ids=[" ".join(words[:1] + words[-3:]) for words, _ in INPUT])
def test_bad_input_is_one_line_and_leaves_nothing(
    run: Run, made: Made, tmp_path: Path, words: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    places = {"PROOF": str(made.proof), "SPOOF": str(made.spoof), "RESULTS": str(made.results)}
    given = [places.get(word, word) for word in words]
    results = [] if words[0] in ("verify", "cluster", "demo", "relatives") else ["--results", str(tmp_path / "results")]
    before = snapshot(made.results)
    ran = run(*given, *results)
    assert_one_line(ran, *fragments)
    assert snapshot(made.results) == before
    assert snapshot(tmp_path) == {}
    assert not list(tmp_path.rglob(".staging/*"))


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "PROOF/manifest.json"])
@pytest.mark.parametrize("command", ["prove", "spoof", "demo"])
def test_results_that_cannot_be_written(run: Run, made: Made, command: str, place: str) -> None:
    place = place.replace("PROOF", str(made.proof))
    words = {"prove": PROVE, "spoof": ("spoof", str(made.proof), *SPOOF), "demo": ("demo",)}[command]
    before = snapshot(made.results)
    assert_one_line(run(*words, "--results", place), place)
    assert snapshot(made.results) == before


def edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwrite(path: Path) -> None:
    """Another content of the same size, as a bad disk leaves it."""
    path.write_bytes(b"\x00" * path.stat().st_size)


def rename_tensor(folder: Path, name: str) -> None:
    """A hostile but readable file: a tensor with a name of its maker's choice."""
    path = folder / "weights" / "step=10.parquet"
    table = pq.read_table(path)
    names = [name, *table.column("name").to_pylist()[1:]]
    table = table.set_column(1, table.schema.field("name"), pa.array(names))
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit_manifest(folder, files={**files, "weights/step=10.parquet": path.stat().st_size})


DAMAGE: list[tuple[str, Callable[[Path], object], tuple[str, ...]]] = [
    ("no weights", lambda p: (p / "weights/step=20.parquet").unlink(), ("step=20.parquet", "is missing")),
    ("no batches", lambda p: (p / "batches.parquet").unlink(), ("batches.parquet", "is missing")),
    ("no manifest", lambda p: (p / "manifest.json").unlink(), ("no manifest.json",)),
    ("truncated weights", lambda p: truncate(p / "weights/step=40.parquet"), ("step=40.parquet", "bytes")),
    ("truncated batches", lambda p: truncate(p / "batches.parquet"), ("batches.parquet", "bytes")),
    ("overwritten weights", lambda p: overwrite(p / "weights/step=40.parquet"), ("step=40.parquet", "not a readable")),
    ("overwritten batches", lambda p: overwrite(p / "batches.parquet"), ("batches.parquet", "not a readable")),
    ("truncated manifest", lambda p: truncate(p / "manifest.json"), ("not a raypol-proof manifest",)),
    ("empty manifest", lambda p: (p / "manifest.json").write_text(""), ("not a raypol-proof manifest",)),
    ("other format", lambda p: edit_manifest(p, format="pickle"), ("not a raypol-proof manifest", "format")),
    ("other version", lambda p: edit_manifest(p, version=2), ("not a raypol-proof manifest of version 1", "version")),
    ("unknown field", lambda p: edit_manifest(p, run="rm -rf"), ("not a raypol-proof manifest", "run")),
    ("unlisted step", lambda p: edit_manifest(p, checkpoint_steps=[0, 7, 40]), ("disagrees with itself", "step 7")),
    ("listed nothing", lambda p: edit_manifest(p, files={}), ("disagrees with itself",)),
]


# A thief of the last weights need not read the batches.
DAMAGED = [
    pytest.param(command, damage, fragments, id=f"{command}, {name}")
    for command in ("verify", "spoof")
    for name, damage, fragments in DAMAGE
    if (command, name) != ("spoof", "overwritten batches")
]


@pytest.mark.parametrize(("command", "damage", "fragments"), DAMAGED)
def test_a_damaged_proof_is_bad_input(
    run: Run, proof: Path, tmp_path: Path, command: str, damage: Callable[[Path], object], fragments: tuple[str, ...]
) -> None:
    damage(proof)
    results = tmp_path / "results"
    if command == "verify":
        assert_one_line(run("verify", proof), *fragments)
        return
    assert_one_line(run("spoof", proof, *SPOOF, "--results", results), *fragments)
    assert not results.exists() or snapshot(results) == {}


@pytest.mark.parametrize("steps", [[], [0]])
def test_a_manifest_that_hides_the_last_weights(run: Run, proof: Path, tmp_path: Path, steps: list[int]) -> None:
    edit_manifest(proof, checkpoint_steps=steps)
    ran = run("verify", proof)
    assert ran.code == 1
    assert "REJECTED by structure" in ran.out
    assert_one_line(run("spoof", proof, *SPOOF, "--results", tmp_path / "r"), "expected weights at the last step, 40")
    assert snapshot(tmp_path / "r") == {}


@pytest.mark.parametrize("name", ["[/red]", "[link=http://x]", "conv1.weight\x1b[2J", "a\nerror: b", "x" * 500])
def test_a_hostile_tensor_name_is_rejected_and_shown_as_it_is(run: Run, proof: Path, name: str) -> None:
    rename_tensor(proof, name)
    ran = run("verify", proof)
    assert ran.code == 1, ran.err
    assert "REJECTED by " in ran.out
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.out + ran.err
    assert not [line for line in ran.out.splitlines() if line.startswith("error: ")]


def test_debug_shows_the_traceback_and_the_same_line(run: Run, tmp_path: Path) -> None:
    words = (*PROVE, "--model", "resnet9", "--results", tmp_path)
    plain, debugged = run(*words), run(*words, "--debug")
    assert debugged.code == 2
    assert "Traceback (most recent call last)" in debugged.err
    assert "InputError" in debugged.err
    assert debugged.err.splitlines()[-1] == plain.err.splitlines()[-1]


def test_a_failure_that_is_nobodys_input_is_not_a_rejection(run: Run, proof: Path) -> None:
    ran = run("verify", proof, "--policy", "os.path:join")  # not a policy, and found out too late
    assert ran.code == 3
    assert "Traceback" in ran.err


def test_a_script_sees_one_line_too() -> None:
    ran = launch("verify", "/nowhere", "--select", "some")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert ran.err.startswith("error: ")


@pytest.mark.ray
def test_ray_from_the_command_line(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ran = launch("verify", made.proof.name, "--policy", "strict", "--runner", "ray", folder=made.proof.parent)
    assert ran.code == 0, ran.err
    assert "ACCEPTED" in ran.out
