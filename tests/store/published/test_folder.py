"""Folders in the published layout: names, indices and the checked content of a checkpoint."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.store.published.folder import new_folder, open_published, printed_hash
from raypol.store.published.state import Declared, State
from tests import published_code
from tests.scenes import TINY, tiny

DATA = load_dataset(TINY)
NET = published_code.net_of("tests.scenes:smooth_net", DATA)
DECLARED = Declared(
    model="smooth_net",
    net={name: (value.shape, value.dtype) for name, value in NET.state_dict().items()},
    parameters=tuple(name for name, _ in NET.named_parameters()),
    buffers=tuple(name for name, _ in NET.named_buffers()),
)


def touch(folder: Path, steps: list[int], total: int) -> Path:
    """Names without content, and indices."""
    folder.mkdir()
    for step in steps:
        (folder / f"model_step_{step}").touch()
    np.save(folder / "indices.npy", np.zeros((total, 2), dtype=np.int64))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A genuine one: 7 steps, k = 3."""
    published_code.prove(tmp_path / "proof", DATA, model="tests.scenes:smooth_net")
    return tmp_path / "proof"


# --- names ---------------------------------------------------------------------------------------------------------


@given(total=st.integers(1, 60), interval=st.integers(1, 60))
def test_k_is_found_from_the_names(tmp_path_factory: pytest.TempPathFactory, total: int, interval: int) -> None:
    interval = min(interval, total)
    steps = sorted({*range(0, total, interval), total})
    folder = touch(tmp_path_factory.mktemp("names") / "p", steps, total)
    found = open_published(folder, 1)
    assert (found.steps, found.interval, found.batch_size) == (total, interval, 2)


@given(total=st.integers(2, 60), interval=st.integers(1, 20), data=st.data())
def test_a_missing_step_is_named_or_leaves_a_legal_folder(
    tmp_path_factory: pytest.TempPathFactory, total: int, interval: int, data: st.DataObject
) -> None:
    steps = sorted({*range(0, total, min(interval, total)), total})
    gone = data.draw(st.sampled_from(steps))
    left = [step for step in steps if step != gone]
    folder = touch(tmp_path_factory.mktemp("names") / "p", left, total)
    said = ""
    try:
        found = open_published(folder, 1)
    except InputError as err:
        said = str(err)
    else:
        assert left == sorted({*range(0, total, found.interval), total})
    # With three gaps left or fewer the smallest may not be k.
    assert not said or f"model_step_{gone} is missing" in said or len(left) <= 4


@pytest.mark.parametrize(
    ("steps", "total", "said"),
    [
        ([3, 6], 6, "model_step_0 is missing"),
        ([0, 3], 6, "model_step_6 is missing; indices.npy has 6 steps"),
        ([0, 3, 6, 9], 6, "indices.npy has 6 steps, model_step_9 lies behind them"),
        ([0, 3, 9, 12], 12, "model_step_6 is missing; expected one every 3 steps up to 12"),
        ([0, 2, 10, 12], 12, "model_step_4 is missing"),
        ([0, 4, 6, 8, 9, 10, 12], 12, "model_step_1 is missing"),
        ([], 6, "model_step_0 is missing"),
    ],
)
def test_steps_that_do_not_fit(tmp_path: Path, steps: list[int], total: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_published(touch(tmp_path / "p", steps, total), 1)


def test_a_known_interval_is_held_against_the_names(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", [0, 6, 7], 7)
    assert open_published(folder, 1).interval == 6  # nothing tells that there were more
    with pytest.raises(InputError, match="model_step_3 is missing; expected one every 3 steps up to 7"):
        open_published(folder, 1, interval=3)
    with pytest.raises(InputError, match="model_step_6 is not a multiple of the interval of 7 steps"):
        open_published(folder, 1, interval=7)
    assert open_published(folder, 1, interval=6).interval == 6


@pytest.mark.parametrize("name", ["model_step_", "model_step_x", "model_step_03", "model_step_-3", "model_step_³"])
def test_a_name_that_is_no_step(tmp_path: Path, name: str) -> None:
    folder = touch(tmp_path / "p", [0, 3], 3)
    (folder / name).touch()
    with pytest.raises(InputError, match="expected names model_step_<t>"):
        open_published(folder, 1)


# --- indices -------------------------------------------------------------------------------------------------------


def save(array: Any) -> Callable[[Path], None]:  # noqa: ANN401 - whatever numpy stores
    return lambda path: np.save(path, array, allow_pickle=True)


def cut(path: Path) -> None:
    np.save(path, np.zeros((3, 2), dtype=np.int64))
    path.write_bytes(path.read_bytes()[:-8])


def claim(shape: str) -> Callable[[Path], None]:
    """A header that claims more than there is."""

    def write(path: Path) -> None:
        header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 48)

    return write


ZEROS = np.zeros((3, 2), dtype=np.int64)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (save(ZEROS.astype(np.float32)), "expected integers, got 'float32'"),
        (save(ZEROS.astype(bool)), "expected integers, got 'bool'"),
        (save(np.zeros((3, 2), dtype="datetime64[s]")), "expected integers"),
        (save(np.zeros((3, 2), dtype=[("a", np.int64)])), "expected integers"),
        (save(np.array([[object()] * 2] * 3)), "not a readable array of numbers"),
        (save(ZEROS[0]), r"expected shape \(steps, batch\), got '\(2,\)'"),
        (save(ZEROS[:, :0]), "expected shape|not a readable"),
        (save(ZEROS[:0]), "expected shape|not a readable"),
        (save(np.where(np.eye(3, 2) > 0, 48, 0)), r"step 0 has index 48, expected 0\.\.47"),
        (save(np.array([[0, 1], [2, 3], [4, -1]])), "step 2 has index -1"),
        (save(np.full((3, 2), 2**64 - 1, dtype=np.uint64)), "step 0 has index 18446744073709551615"),
        (cut, "not a readable array"),
        (claim("(1000000000000, 128)"), "not a readable array"),
        (claim("(10**9, 10**9)"), "not a readable array"),
        (claim("(" * 5000), "not a readable array"),
        (lambda path: path.write_bytes(b""), "not a readable array"),
        (lambda path: path.write_text("[[1, 2]]"), "not a readable array"),
        (lambda path: np.savez(path.open("wb"), ZEROS), "not a readable array"),
        (os.mkfifo, "expected a file"),
        (Path.mkdir, "expected a file"),
        (lambda _path: None, "indices.npy is missing"),
    ],
)
def test_indices_that_are_none(tmp_path: Path, write: Callable[[Path], object], said: str) -> None:
    folder = touch(tmp_path / "p", [0, 3], 3)
    (folder / "indices.npy").unlink()
    write(folder / "indices.npy")
    with pytest.raises(InputError, match=said) as caught:
        open_published(folder, len(DATA))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<i4", "u1", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_integers_are_read(tmp_path: Path, dtype: str, order: Any) -> None:  # noqa: ANN401 - numpy's Literal
    folder = touch(tmp_path / "p", [0, 3], 3)
    rows = np.arange(6).reshape(3, 2)
    np.save(folder / "indices.npy", np.asarray(rows, dtype=dtype, order=order))
    read = open_published(folder, 6).rows(1, 3)
    assert read.dtype == np.int64
    assert read.tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda _path: None])
def test_a_folder_that_is_none(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "p")
    with pytest.raises(InputError, match=r"expected a folder with|indices\.npy is missing"):
        open_published(tmp_path / "p", 1)


# --- a checkpoint --------------------------------------------------------------------------------------------------


def state_of(folder: Path, step: int = 3) -> State:
    return open_published(folder, len(DATA)).state(step, DECLARED)


def test_a_genuine_state_is_read(folder: Path) -> None:
    raw = torch.load(folder / "model_step_3")
    state = state_of(folder)
    assert all(torch.equal(state.net[name], raw["net"][name]) for name in raw["net"])
    assert state.options is not None
    assert (state.options["momentum"], state.options["weight_decay"]) == (0.9, 1e-4)
    assert len(state.optimizer_state) == len(DECLARED.parameters)
    for number, name in enumerate(DECLARED.parameters):
        kept = state.optimizer_state[f"{name}/momentum_buffer"]
        assert isinstance(kept, torch.Tensor)
        assert torch.equal(kept, raw["optimizer"]["state"][number]["momentum_buffer"])
    assert state.schedule is not None
    assert (state.schedule.milestones, state.schedule.gamma, state.schedule.last_step) == ((2, 5), 0.1, 3)
    assert not state_of(folder, 0).optimizer_state


def put(*keys: Any, value: object) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - keys of nested containers
    """The state with one entry set."""

    def change(state: dict[str, Any]) -> None:
        place: Any = state
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - keys of nested containers
    """The state with one entry less."""

    def change(state: dict[str, Any]) -> None:
        place: Any = state
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


class Disguised:
    """Pickled as an OrderedDict whose own attributes hide its methods."""

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), dict.fromkeys(("items", "keys", "values", "get"), 5), None, iter([("weight", 1)])


GROUP = ("optimizer", "param_groups", 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("epoch", value=3), "expected entries net, optimizer and scheduler, got .*'epoch'"),
        (drop("net"), "expected entries net"),
        (put("net", value=[1]), "expected net to be a dict, got a list"),
        (put("net", value=Disguised()), "has no tensor"),
        (put("net", 3, value=torch.ones(1)), "net has a key 3"),
        (drop("net", "0.weight"), r"model_step_3: has no tensor '0.weight'; is smooth_net its model\?"),
        (put("net", "7.weight", value=torch.ones(1)), "has a tensor that the declared model has not: '7.weight'"),
        (
            put("net", "0.weight", value=torch.ones(3, 1, 5, 5)),
            r"'0.weight' is torch.float32 \(3, 1, 5, 5\), expected torch.float32 \(3, 1, 3, 3\); is smooth_net its model\?",
        ),
        (put("net", "0.weight", value=torch.ones(64, 3, 3, 3)), "the declared model needs at most"),
        (put("net", "0.weight", value=torch.ones(3, 1, 3, 3).double()), "is torch.float64"),
        (put("net", "0.weight", value=torch.ones(()).expand(3, 1, 3, 4)), "'0.weight' is"),
        (put("net", "0.weight", value=[1.0]), "'0.weight' is a list, expected an ordinary tensor"),
        (put("net", "1.num_batches_tracked", value=torch.tensor(3.0)), "'1.num_batches_tracked' is torch.float32"),
        (put("optimizer", "param_groups", value=[]), "one group of parameters"),
        (put("optimizer", "param_groups", value=[{}, {}]), "one group of parameters"),
        (put(*GROUP, "params", value=[0, 1, 2]), "an optimizer over the model's 6 parameters"),
        (put(*GROUP, "params", value=[5, 4, 3, 2, 1, 0]), "in order"),
        (put(*GROUP, "params", value=[False, True, 2, 3, 4, 5]), "in order"),
        (put(*GROUP, "momentum", value=torch.ones(2)), "optimizer option 'momentum' is a Tensor, expected a number"),
        (put(*GROUP, "momentum", value=float("nan")), "optimizer option 'momentum' is nan"),
        (drop("optimizer", "state"), "no state dict"),
        (put("optimizer", "state", 6, value={}), r"optimizer state of parameter 6, expected 0\.\.5"),
        (put("optimizer", "state", "0.weight", value={}), "optimizer state of parameter '0.weight'"),
        (put("optimizer", "state", 0, value=[1]), "to be a dict"),
        (
            put("optimizer", "state", 0, "momentum_buffer", value="x"),
            "'momentum_buffer' of 0.weight: expected a tensor",
        ),
        (put("scheduler", value={"T_max": 5}), "not a MultiStepLR"),
        (put("scheduler", "milestones", value={"2": 1}), "milestones are not steps"),
        (put("scheduler", "milestones", value={-2: 1}), "milestones are not steps"),
        (put("scheduler", "milestones", value={2: 0}), "milestones are not steps"),
        (put("scheduler", "milestones", value={2: 10**12}), "more than 10000 milestones"),
        (put("scheduler", "gamma", value=float("inf")), "gamma inf"),
        (put("scheduler", "gamma", value="0.1"), "gamma '0.1'"),
        (put("scheduler", "base_lrs", value=[0.1, 0.2]), "not a MultiStepLR"),
        (put("scheduler", "base_lrs", value=[-0.1]), "base lr -0.1"),
        (put("scheduler", "last_epoch", value=2.5), "step 2.5"),
    ],
)
def test_a_forged_state_is_refused(folder: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    path = folder / "model_step_3"
    state = torch.load(path)
    change(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=said) as caught:
        state_of(folder)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("0.weight/momentum_buffer", torch.ones(2), r"is torch.float32 \(2,\), expected torch.float32 \(3, 1, 3, 3\)"),
        ("0.weight/exp_avg", torch.ones(3, 1, 3, 3), "the declared optimizer keeps no '0.weight/exp_avg'"),
        ("0.weight/momentum_buffer", 3, r"is torch.float32 \(\), expected"),
        ("0.weight/momentum_buffer", 1e300, "expected a count of steps"),
        ("0.weight/momentum_buffer", float("nan"), "expected a count of steps"),
    ],
)
def test_an_optimizer_state_of_another_kind_is_refused(folder: Path, name: str, value: Any, said: str) -> None:  # noqa: ANN401
    state = state_of(folder)
    kinds = {f"{parameter}/momentum_buffer": DECLARED.net[parameter] for parameter in DECLARED.parameters}
    assert state.checkpoint(DECLARED, kinds, {}).step == 3
    forged = State(**{**{slot: getattr(state, slot) for slot in state.__slots__}, "optimizer_state": {name: value}})
    with pytest.raises(InputError, match=said):
        forged.checkpoint(DECLARED, kinds, {})


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_new_folder_is_there_as_a_whole_or_not(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as staging:
        (staging / "x").touch()
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(InputError, match="exists already"), new_folder(tmp_path / "a" / "b"):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "c") as staging:
        (staging / "x").write_text(str(1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_dangling_link_is_something_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"), new_folder(tmp_path / "link"):
        pass


def test_the_printed_hash_is_of_gray_tensors_and_of_colour_arrays() -> None:
    gray = tiny()
    expected = hashlib.sha256("".join(str(image[0]) for image in gray.pixels).encode()).hexdigest()
    told: list[tuple[int, int]] = []
    assert printed_hash(gray, lambda _what, done, of, _left=None: told.append((done, of))) == expected
    assert told[-1] == (48, 48)
    colour = load_dataset("tests.toys:two_stripes")
    images = colour.pixels.numpy().transpose(0, 2, 3, 1)
    expected = hashlib.sha256("".join(map(str, images)).encode()).hexdigest()
    with np.printoptions(threshold=5, edgeitems=1, linewidth=20):  # a user's own taste does not change it
        assert printed_hash(colour) == expected
