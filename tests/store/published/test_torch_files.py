"""Files of torch.save from an adversary: nothing is run, nothing is swallowed whole, damage is one line."""

import io
import os
import pickle
import time
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.core.errors import InputError
from raypol.store.published.torch_files import Budget, read_torch_file

BUDGET = Budget(tensor_bytes=4096, tensors=8)
STATE: dict[str, Any] = {
    "net": OrderedDict(weight=torch.arange(12.0).view(3, 4), count=torch.tensor(7), half=torch.ones(5)[1:4]),
    "rates": [0.1, 1e-4],
    "milestones": Counter({3: 2, 70000: 1}),
    "flags": (True, None, "text", -5, 2**40),
}
Members = dict[str, bytes]


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "good")
    return tmp_path / "good"


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def pack(path: Path, content: Members, compression: int = zipfile.ZIP_STORED, top: str = "archive/") -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(top + name, data)


def refused(path: Path, said: str, budget: Budget = BUDGET) -> str:
    with pytest.raises(InputError, match=said) as caught:
        read_torch_file(path, budget)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    assert len(message) < 500
    return message


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def test_what_torch_saves_is_read_bit_for_bit(good: Path) -> None:
    read = read_torch_file(good, BUDGET)
    assert same(STATE, read)
    assert type(read["milestones"]) is Counter


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool])
def test_every_ordinary_dtype_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"t": torch.tensor([0, 1, 1]).to(dtype)}
    torch.save(state, tmp_path / "t")
    assert same(state, read_torch_file(tmp_path / "t", BUDGET))


def test_a_shared_storage_stays_one(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    torch.save({"a": whole, "b": whole[2:]}, tmp_path / "t")
    read = read_torch_file(tmp_path / "t", BUDGET)
    assert read["a"].untyped_storage().data_ptr() == read["b"].untyped_storage().data_ptr()
    assert read["b"].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("place", ["net", "deep"])
def test_code_is_named_and_not_run(tmp_path: Path, protocol: int, place: str) -> None:
    ran = tmp_path / "ran"
    payload = Payload(f"touch {ran}")
    state = {"net": payload} if place == "net" else {"net": {"weight": torch.ones(2), "more": [({1: payload},)]}}
    torch.save(state, tmp_path / "evil", pickle_protocol=protocol)
    message = refused(
        tmp_path / "evil", "carries code" if protocol == 2 else f"PROTO {protocol}, which torch.save does not"
    )
    assert "none of it was run" in message
    assert protocol > 2 or "posix.system" in message
    assert not ran.exists()
    torch.load(tmp_path / "evil", weights_only=False)
    assert ran.exists()  # the payload was a real one


@pytest.mark.parametrize(
    ("what", "evil"),
    [
        ("builtins.bytearray", bytearray(3)),
        ("torch._utils._rebuild_sparse_tensor", torch.eye(2).to_sparse()),
        ("torch._utils._rebuild_parameter", torch.nn.Parameter(torch.ones(2))),
        ("torch.nn.modules.linear.Linear", torch.nn.Linear(1, 1)),
        ("collections.deque", deque([1])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_state_dict_needs_is_refused_even_where_torch_would_read_it(
    tmp_path: Path, what: str, evil: object
) -> None:
    torch.save({"net": evil}, tmp_path / "t")
    assert what in refused(tmp_path / "t", "carries code").replace("__builtin__", "builtins")


def cut(content: Members, name: str, size: int) -> Members:
    return {**content, name: content[name][:size]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: cut(m, "data/0", 8), "storage '0' claims 48 bytes, its member has 8"),
        (lambda m: {**m, "data/0": m["data/0"] * 2}, "claims 48 bytes, its member has 96"),
        (lambda m: {k: v for k, v in m.items() if k != "data/0"}, "claims 48 bytes, its member has none"),
        (lambda m: {k: v for k, v in m.items() if k != "data.pkl"}, "has no data.pkl"),
        (lambda m: cut(m, "data.pkl", 40), "not a pickle|not a readable"),
        (lambda m: {**m, "data.pkl": b""}, "not a pickle"),
        (lambda m: {**m, "data.pkl": b"\x80\x02" + b"(" * 300_000 + b"."}, "data.pkl has 300003 bytes"),
        (lambda m: {**m, "data.pkl": b"\x80\x02N."}, ""),
        (lambda m: {**m, "data.pkl": b"\x80\x02(X\x07\x00\x00\x00storageQ."}, "fetches a storage in a way"),
        (lambda m: {**m, "data.pkl": b"\x80\x02Pstorage\n."}, "its pickle says PERSID 'storage'"),
        (lambda m: {**m, "data.pkl": b"\x80\x02cposix\nsystem\n."}, "posix.system"),
        (lambda m: {**m, "data.pkl": b"\x80\x02(iposix\nsystem\n."}, "its pickle says INST 'posix system'"),
        (lambda m: {**m, "data.pkl": b"\x80\x02X\x05\x00\x00\x00posix\x93."}, "its pickle says STACK_GLOBAL"),
        (lambda m: {**m, "data.pkl": b"\x80\x02\x82\x01."}, "its pickle says EXT1 1"),
        (lambda m: {**m, "data/9": b"0" * 5000}, "data/9 has 5000 bytes, the declared model needs at most 4096"),
        (lambda m: {**m, **{f"data/{n}": b"0" * 1000 for n in range(10, 15)}}, "bytes of tensors"),
        (lambda m: {**m, **{f"data/{n}": b"" for n in range(10, 60)}}, "members, expected at most one per tensor"),
        (lambda m: {**m, "code/x.py": b""}, "unexpected member"),
        (lambda m: {**m, "constants.pkl": b""}, "unexpected member"),
        (lambda m: {**m, "data/../../x": b""}, "unexpected member"),
    ],
)
def test_a_forged_archive_is_refused(
    good: Path, tmp_path: Path, change: Callable[[Members], Members], said: str
) -> None:
    pack(tmp_path / "forged", change(members(good)))
    if said:
        refused(tmp_path / "forged", said)
    else:  # a pickle of None: read, and the caller's to refuse
        assert read_torch_file(tmp_path / "forged", BUDGET) is None


def test_numbers_that_overflow_the_size_of_a_storage_are_refused(good: Path, tmp_path: Path) -> None:
    content = members(good)
    literal = b"K\x0ct"  # 12 elements, end of the storage's tuple
    assert content["data.pkl"].count(literal) == 1
    for count in (2**62 + 12, -12, 2**64):
        raw = count.to_bytes(9, "little", signed=True)
        changed = content["data.pkl"].replace(literal, b"\x8a\x09" + raw + b"t")
        pack(tmp_path / "forged", {**content, "data.pkl": changed})
        refused(tmp_path / "forged", "storage '0' claims")


def test_a_bomb_is_not_unfolded(good: Path, tmp_path: Path) -> None:
    content = {**members(good), "data/9": bytes(64 << 20)}
    pack(tmp_path / "bomb", content, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb").stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        refused(tmp_path / "bomb", "is compressed")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_directory_of_any_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long"
    pack(path, {f"data/{n}": b"" for n in range(15_000)}, top="a" * 100 + "/")
    tracemalloc.start()
    try:
        refused(path, "not a readable zip archive", Budget(tensor_bytes=64 << 20, tensors=8))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_huge_file_is_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    refused(tmp_path / "huge", "the declared model needs at most")


def legacy(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (legacy, "expected a zip archive, as torch.save writes since torch 1.6"),
        (lambda path: path.write_bytes(pickle.dumps(STATE["rates"])), "expected a zip archive"),
        (lambda path: path.write_bytes(b""), "expected a zip archive"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "not a readable zip archive"),
        (lambda path: path.mkdir(), "expected a file"),
        (lambda path: os.mkfifo(path), "expected a file"),
        (lambda _path: None, "expected a file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "other")
    refused(tmp_path / "other", said)


def test_a_nest_of_containers_costs_no_time(tmp_path: Path) -> None:
    nest: list[Any] = []
    for _ in range(30):
        nest = [nest, nest]
    torch.save({"net": nest}, tmp_path / "nest")
    started = time.process_time()
    read_torch_file(tmp_path / "nest", BUDGET)
    assert time.process_time() - started < 20, "2^30 visits take minutes"


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_one_line_or_does_no_harm(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = io.BytesIO()
    torch.save(STATE, content)
    raw = bytearray(content.getvalue())
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    if kind == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del raw[at : at + data.draw(st.integers(1, 200))]
    else:
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=50))
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(bytes(raw))
    try:
        assert same(STATE, read_torch_file(path, BUDGET))
    except InputError as err:
        said = str(err)
    else:
        said = ""
    assert "\n" not in said


def tensors_in(value: object, depth: int = 0) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) and depth < 5:
        for part in dict.values(value) if isinstance(value, dict) else value:
            yield from tensors_in(part, depth + 1)


@settings(max_examples=300)
@given(st.data())
def test_a_forged_pickle_gives_no_tensor_beyond_its_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("forged") / "file"
    torch.save(STATE, path)
    content = members(path)
    raw = bytearray(content["data.pkl"])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        if data.draw(st.booleans()):
            raw[at] = data.draw(st.integers(0, 255))
        else:
            raw[at : at + 1] = data.draw(
                st.sampled_from([b"", b"K\xff", b"J\xff\xff\xff\x7f", b"2", b"0", b"q\x01", b"t"])
            )
    pack(path, {**content, "data.pkl": bytes(raw)})
    try:
        read = read_torch_file(path, BUDGET)
    except InputError as err:
        read, said = None, str(err)
    else:
        said = ""
    assert "\n" not in said
    for tensor in tensors_in(read):
        reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if n > 0)
        end = (tensor.storage_offset() + reach + 1) * tensor.itemsize
        assert tensor.numel() == 0 or end <= tensor.untyped_storage().nbytes() <= BUDGET.tensor_bytes
