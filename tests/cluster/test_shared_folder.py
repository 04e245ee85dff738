"""A results folder that some node does not see is refused at the start."""

from pathlib import Path
from types import ModuleType

import pytest

from raypol.cluster.shared_folder import check_visible
from raypol.core.errors import InputError
from raypol.store.location import open_location


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_folder_that_all_nodes_see(tmp_path: Path) -> None:
    check_visible(open_location(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
def test_a_folder_that_only_the_driver_sees(
    ray_session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path means another folder in every process: a real one that the workers do not see."""
    assert ray_session.is_initialized()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"1 of 1 nodes do not see the results folder /proc/self/cwd: \S+/[0-9a-f]{8}; "
    ):
        check_visible(open_location("/proc/self/cwd"))
    assert list(tmp_path.iterdir()) == []
