"""What fuzzing found once stays mended, and every reader still reads the honest files that it was fuzzed from."""

from pathlib import Path

import pytest

from raypol.core.errors import InputError
from tests.fuzz.__main__ import FINDINGS
from tests.fuzz.readers import Scene, judge

READERS = (
    "manifest",
    "batches",
    "points",
    "weights",
    "rows",
    "torch",
    "pickle",
    "npy",
    "question",
    "answer",
    "state",
    "verdict",
    "vc",
    "vc_proofs",
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("honest"))


@pytest.mark.parametrize("finding", sorted(FINDINGS.glob("*-*")), ids=lambda path: path.name)
def test_a_finding_is_mended(finding: Path, scene: Scene) -> None:
    judge(scene.readers[finding.name.partition("-")[0]], finding.read_bytes())


@pytest.mark.parametrize("reader", READERS)
def test_honest_files_are_read_and_others_refused(reader: str, scene: Scene) -> None:
    assert tuple(scene.readers) == READERS
    for seed in scene.seeds(reader):
        scene.readers[reader](seed)
        judge(scene.readers[reader], seed[: len(seed) // 2])
    if reader != "rows":  # of which it is returned what is wrong
        with pytest.raises(InputError):
            scene.readers[reader](b"no such file")


def test_what_is_no_input_error_is_a_finding() -> None:
    def wrong(_: bytes) -> None:
        raise KeyError

    def lines(_: bytes) -> None:
        raise InputError("a\nb")

    with pytest.raises(KeyError):
        judge(wrong, b"")
    with pytest.raises(AssertionError, match="several lines"):
        judge(lines, b"")
