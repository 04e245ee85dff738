"""`raypol sync`, in this process, with a real SQLite store."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raypol.cli.commands.sync import experiment_of
from raypol.cli.main import main
from raypol.runs.tracking.sync import only_writer
from raypol.store.location import open_location
from tests.rows import write_rows

Sync = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sync(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Exit code, stdout, stderr."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back too
        monkeypatch.delenv(name)

    def sync(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["sync", *map(str, words)])
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err

    return sync


def test_every_sweep_gets_to_its_experiment_and_a_second_time_adds_nothing(tmp_path: Path, sync: Sync) -> None:
    write_rows(tmp_path, 2, sweep_id="quick-smoke")
    write_rows(tmp_path, 1, sweep_id="demo-20260102-030405-abcd")
    write_rows(tmp_path, 1, sweep_id="mine")
    (tmp_path / "sweeps" / "quick-smoke").mkdir(parents=True)
    (tmp_path / "sweeps" / "quick-smoke" / "sweep.json").write_text(json.dumps({"sweep": "quick", "size": "smoke"}))

    code, out, err = sync(tmp_path, "--sweep", "mine")
    assert code == 0, err
    assert out.splitlines()[0] == "raypol, sweep mine: 1 logged, 0 were there already"
    code, out, err = sync(tmp_path)
    assert code == 0, err
    assert out.splitlines()[:4] == [
        "raypol-demo, sweep demo-20260102-030405-abcd: 1 logged, 0 were there already",
        "raypol, sweep mine: 0 logged, 1 were there already",
        "raypol-quick, sweep quick-smoke: 2 logged, 0 were there already",
        f"MLflow: mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db",
    ]
    tables = [line.strip().partition(": http://127.0.0.1:5000/#/experiments/") for line in out.splitlines()[4:]]
    assert [table[0] for table in tables] == ["raypol-demo", "raypol", "raypol-quick"]
    assert len({table[2] for table in tables}) == 3
    assert "2/2 quick-smoke to MLflow" in err

    code, out, _ = sync(tmp_path, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db")
    assert code == 0
    assert ": 0 logged, 2 were there already" in out
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = {e.name: len(client.search_runs([e.experiment_id])) for e in client.search_experiments()}
    assert runs == {"Default": 0, "raypol-demo": 1, "raypol": 1, "raypol-quick": 2}

    with only_writer(open_location(tmp_path), "mine"):
        code, _, err = sync(tmp_path, "--sweep", "mine")
    assert (code, "another process is writing the runs of sweep 'mine'" in err) == (3, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("{folder}/nowhere",), "no such results folder: "),
        (("{folder}/empty",), "holds no rows: expected RESULTS/trials/*.parquet"),
        (("{folder}", "--sweep", "yours"), "holds no rows of sweep 'yours'; there are mine"),
        (("{folder}", "--sweeps", "mine"), "perhaps you meant --sweep"),
        ((), "required"),
        (("ftp:/" + "/x",), "cannot open"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: tuple[str, ...], expected: str, tmp_path: Path, sync: Sync
) -> None:
    write_rows(tmp_path, 1, sweep_id="mine")
    (tmp_path / "empty").mkdir()
    code, out, err = sync(*(word.format(folder=tmp_path) for word in words))
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x", "sqlite:////proc/no/such.db"])
def test_a_store_that_is_away_is_one_line_and_exit_code_3(uri: str, tmp_path: Path, sync: Sync) -> None:
    write_rows(tmp_path, 1, sweep_id="mine")
    code, out, err = sync(tmp_path, "--tracking-uri", uri)
    assert (code, out) == (3, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: mine did not get to MLflow at {uri} (")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("sweep_id", "recorded", "expected"),
    [
        ("a", {"sweep": "fig3"}, "raypol-fig3"),
        ("demo-1", {"sweep": "fig3"}, "raypol-fig3"),
        ("demo-1", None, "raypol-demo"),
        ("a", None, "raypol"),
        ("a", {}, "raypol"),
    ],
)
def test_the_experiment_is_read_from_what_the_sweep_recorded(
    sweep_id: str, recorded: dict[str, str] | None, expected: str, tmp_path: Path
) -> None:
    if recorded is not None:
        (tmp_path / "sweeps" / sweep_id).mkdir(parents=True)
        (tmp_path / "sweeps" / sweep_id / "sweep.json").write_text(json.dumps(recorded))
    assert experiment_of(open_location(tmp_path), sweep_id) == expected
