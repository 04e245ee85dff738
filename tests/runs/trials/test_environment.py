"""What is recorded about how a number was obtained, on any machine."""

import importlib.util
import json
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import raypol
from raypol.runs.trials import environment
from raypol.runs.trials.environment import commit, versions, versions_text


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    commit.cache_clear()
    yield
    commit.cache_clear()


def test_versions_name_what_a_number_depends_on() -> None:
    found = versions()
    assert found.keys() >= {"python", "raypol", "torch", "numpy", "ray", "pyarrow", "mlflow"}
    assert found["python"] == platform.python_version()
    assert found["raypol"] == raypol.__version__
    assert "absent" not in found.values()
    assert json.loads(versions_text()) == found


def git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *names, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[Path], ModuleType]:
    """Raypol's module as if it had been installed in a folder."""

    def install(folder: Path) -> ModuleType:
        folder.mkdir(parents=True, exist_ok=True)
        copy = Path(shutil.copy(environment.__file__, folder / "environment.py"))
        spec = importlib.util.spec_from_file_location("copied_environment", copy)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    (tmp_path / "repository").mkdir()
    git(tmp_path / "repository", "init", "-q")
    return install


def test_a_checkouts_commit_and_whether_it_has_changes(tmp_path: Path, installed: Callable[[Path], ModuleType]) -> None:
    repository = tmp_path / "repository"
    module = installed(repository / "raypol" / "runs")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "all")
    head = git(repository, "rev-parse", "HEAD")
    assert module.commit() == head
    source = repository / "raypol" / "runs" / "environment.py"
    source.write_text(source.read_text() + "# changed\n")
    module.commit.cache_clear()
    assert module.commit() == f"{head}-dirty"


def test_somebody_elses_checkout_is_not_raypols(tmp_path: Path, installed: Callable[[Path], ModuleType]) -> None:
    repository = tmp_path / "repository"
    (repository / "thesis.tex").write_text("")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "a thesis")
    module = installed(repository / ".venv" / "site-packages" / "raypol" / "runs")
    assert module.commit() == ""


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, installed: Callable[[Path], ModuleType]) -> None:
    assert installed(tmp_path / "site-packages").commit() == ""


def test_a_machine_without_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == ""
