"""An honest proof with its row and a few spoofs, shared by tests that only look, and a copy for each that writes."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from raypol.cluster.runners import LocalRunner
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.store.location import open_location
from tests.studies import QUICK_ARMS, on, prepare, trial


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A finished study."""

    study: Study
    honest: TrialOutcome
    spoofs: dict[str, TrialOutcome]
    folder: Path


@pytest.fixture(scope="session")
def local() -> Iterator[LocalRunner]:
    """This process."""
    with LocalRunner(on()) as runner:
        yield runner


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A study of one's own to write into: the honest proof and its row are there."""

    study: Study
    honest: TrialOutcome
    folder: Path
    run: Callable[[Trial], TrialOutcome]


@pytest.fixture(scope="session")
def begun(local: LocalRunner, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrialOutcome]:
    """A folder with the honest proof and its row. Do not write into it: `fresh` is a copy."""
    folder = tmp_path_factory.mktemp("begun")
    return folder, run_honest(local, prepare(local, open_location(folder)), trial("null"))


@pytest.fixture
def fresh(local: LocalRunner, begun: tuple[Path, TrialOutcome], tmp_path: Path) -> Fresh:
    folder, honest = begun
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    study = prepare(local, open_location(tmp_path))
    return Fresh(study=study, honest=honest, folder=tmp_path, run=lambda t: run_trial(local, study, t, honest.row))


@pytest.fixture(scope="session")
def recorded(local: LocalRunner, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Every quick arm at T' = 10, k = 5. Do not write into its folder: copy it."""
    folder = tmp_path_factory.mktemp("recorded")
    study = prepare(local, open_location(folder), sweep_id="recorded")
    honest = run_honest(local, study, trial("null"))
    spoofs = {arm: run_trial(local, study, trial(arm), honest.row) for arm in QUICK_ARMS}
    return Recorded(study=study, honest=honest, spoofs=spoofs, folder=folder)
