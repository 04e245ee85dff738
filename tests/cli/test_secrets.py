"""An address that holds a password: nothing that is printed, logged or written shows it."""

import contextlib
import io
import logging
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.implementations.dirfs import DirFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from pyarrow import fs

from raypol.cli.main import main
from raypol.core.errors import InputError
from raypol.runs.sweeps.live_status import LiveStatus
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.tracking.sweep_runs import Summary
from raypol.runs.tracking.sync import keep_summary
from raypol.runs.tracking.tracker import Tracker
from raypol.store import location
from raypol.store.location import open_location
from raypol.store.quoting import command_line
from tests.report.sweep_rows import ABOUT, draw_blank_figures, rows_of
from tests.rows import made_intervals, rewrite
from tests.tiny_sweep import tiny_sweep

SECRET = "SEN7INEL"  # noqa: S105 - a sentinel
S3 = f"s3://KEY:{SECRET}@bucket"
PROVE = ("prove", "--dataset", "digits", "--steps", "20", "--interval", "10", "--results")


class _Files(DirFileSystem):  # type: ignore[misc]
    """Files that need no folder, as in an object store."""

    def mv(self, path1: str, path2: str, **more: Any) -> None:  # noqa: ANN401 - fsspec's
        self.makedirs(path2.rpartition("/")[0], exist_ok=True)
        super().mv(path1, path2, **more)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for s3://...@bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()

    def from_uri(uri: str) -> tuple[fs.FileSystem, str]:
        if "no-such" in uri:
            raise OSError(f"cannot parse {uri}")
        files = _Files(path=str(folder), fs=LocalFileSystem(auto_mkdir=True))
        return fs.PyFileSystem(fs.FSSpecHandler(files)), uri.partition("@bucket/")[2].partition("?")[0]

    kept = {name: getattr(fs, name) for name in ("LocalFileSystem", "FileType", "FileSelector")}
    monkeypatch.setattr(location, "fs", SimpleNamespace(**kept, FileSystem=SimpleNamespace(from_uri=from_uri)))
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # where MLflow's store goes
    draw_blank_figures(monkeypatch)
    return folder


def show_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, *folders: Path) -> str:
    """Check that the secret is nowhere; returns what was printed."""
    said = capfd.readouterr()
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("raypol")]
    assert SECRET not in f"{said.out}{said.err}{logged}"  # other libraries' lines are hidden where they are shown
    for folder in folders:
        for path in folder.rglob("*"):
            assert SECRET not in path.name
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    return f"{said.out}{said.err}{logged}"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_proof_its_verdict_and_a_spoof(
    bucket: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(*PROVE, f"{S3}/r?secret_key={SECRET}&region=x") == 0
    printed = capfd.readouterr().out.splitlines()[-1]
    (proof,) = (bucket / "r" / "proofs").iterdir()
    assert printed == f"s3://***@bucket/r/proofs/{proof.name}?secret_key=***&region=x"
    assert run("verify", f"{S3}/r/proofs/{proof.name}") == 0
    words = ("--attack", "null", "--steps", "10", "--results", f"{S3}/spoofs")
    assert run("spoof", f"{S3}/r/proofs/{proof.name}", *words) == 0
    assert len(list((bucket / "spoofs" / "proofs").iterdir())) == 1
    show_nothing(capfd, caplog, tmp_path)


def test_report_sync_top_and_what_they_write(
    bucket: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    results = open_location(f"{S3}/r")
    for row in rows_of():
        rewrite(bucket / "r", row, message=f"OSError: {S3}/x cannot be read", status="error", arm=row.arm)
    record = SweepRecord(results, "made")
    told = command_line("python", "x.py", "--results", f"{S3}/r")
    record.write_about(About(question=ABOUT.question, command=f"{told} {S3}", num_trials=9))
    record.write_asked({"data": f"{S3}/data"})
    record.require_same({"data": f"{S3}/data"}, must_exist=True)
    keep_summary(results, "made", Summary(answer=f"at {S3}"))
    live = LiveStatus(results, "made")
    live.set_activity(f"reading {S3}/x")
    with pytest.raises(OSError, match="away"), live.publishing():
        raise OSError(f"{S3}/x is away")
    assert run("report", f"{S3}/r", "--out", str(tmp_path / "out")) == 0
    assert run("sync", f"{S3}/r") == 0
    assert run("top", "--results", f"{S3}/r", "--address", "none", "--once") == 0
    assert "s3://***@bucket/r" in (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert "s3://***@bucket" in show_nothing(capfd, caplog, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("report", f"s3://KEY:{SECRET}@no-such/r"),
        ("report", f"nope://KEY:{SECRET}@no-such/r", "--debug"),
        ("report", f"{S3}/nothing"),
        ("report", f"{S3}/nothing", "--debug"),
        ("sync", f"{S3}/nothing"),
        ("top", "--results", f"{S3}/nothing", "--once"),
        ("verify", f"{S3}/nothing"),
        ("spoof", f"{S3}/nothing", "--attack", "null", "--steps", "10"),
        (*PROVE, f"s3://KEY:{SECRET}@no-such/r"),
        ("plan", f"{S3}/x.py"),
        ("explore", f"{S3}/nothing", "--no-browser"),
        ("report", f"{S3}/nothing", "--nonsense", f"{S3}"),
        ("join", f"http://u:{SECRET}@host", "--dry-run"),
    ],
)
def test_what_goes_wrong(
    words: tuple[str, ...],
    bucket: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert bucket.is_dir()
    assert run(*words) == 2
    assert show_nothing(capfd, caplog, tmp_path)


def test_the_help_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYPOL_RESULTS", f"{S3}/r")
    monkeypatch.setattr("sys.argv", ["tiny.py", "--help"])
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        runpy.run_path(str(tiny_sweep(tmp_path)), run_name="__main__")
    assert "s3://***@bucket/r" in shown.getvalue()
    assert SECRET not in shown.getvalue()


def test_mlflows_address(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{SECRET}@127.0.0.1:9/?token={SECRET}")
    (row, *_) = rows_of()
    rewrite(tmp_path / "r", row)
    assert run("sync", str(tmp_path / "r")) == 3
    tracker = Tracker(open_location(tmp_path / "r"), "raypol", "made")
    tracker.log(row, made_intervals(row))
    tracker.finish("yes", [])
    assert "http://***@127.0.0.1:9" in tracker.problem
    assert SECRET not in tracker.problem
    assert "***@127.0.0.1" in show_nothing(capfd, caplog, tmp_path)


def test_a_location_and_its_errors(caplog: pytest.LogCaptureFixture) -> None:
    somewhere = fs.SubTreeFileSystem("/", fs.LocalFileSystem())
    where = location.Location(somewhere, "r", f"{S3}/r?api_token={SECRET}")
    for shown in (str(where), repr(where), f"{where / 'x'}", repr([where])):
        assert SECRET not in shown
    assert SECRET in (where / "x").address, "what another process needs"
    with pytest.raises(InputError) as caught:
        open_location(f"nope://KEY:{SECRET}@x")
    chain: Any = caught.value
    assert SECRET not in f"{chain} {chain.__cause__}"
    logging.getLogger("raypol.x").warning("%s", where)
    assert SECRET not in caplog.text
