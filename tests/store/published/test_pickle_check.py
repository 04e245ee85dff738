"""Pickles that would build more than they say, or something else: refused before anything is built."""

import io
import subprocess
import sys
import time
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raypol.core.errors import InputError
from raypol.store.published.pickle_check import check_pickle
from raypol.store.published.torch_files import Budget, read_torch_file

BEGIN, EMPTY, NONE, END = b"\x80\x02", b"}", b"N", b"s."
FLOATS = b"ctorch\nFloatStorage\n"
SIZES = {"data/0": 40}


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def storage_id(key: str = "0", count: bytes = b"K\x0a", kind: bytes = FLOATS) -> bytes:
    """The tuple that names a storage: of ten floats, which the member has."""
    return b"(" + text("storage") + kind + text(key) + text("cpu") + count + b"t"


def check(pickled: bytes, most_tensors: int = 8) -> None:
    check_pickle(Path("here"), BEGIN + pickled, SIZES, most_tensors=most_tensors)


def pickle_of(value: Any) -> tuple[bytes, dict[str, int]]:  # noqa: ANN401 - anything that torch.save takes
    stream = io.BytesIO()
    torch.save(value, stream)
    with zipfile.ZipFile(stream) as archive:
        found = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        return archive.read(found["data.pkl"]), {name: info.file_size for name, info in found.items()}


def trained() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True)
    model(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 3, 70_000])
    return {"net": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict()}


@pytest.mark.parametrize("value", [trained(), OrderedDict(a=Counter("aab"), b=[(1, (2.5, None)), {}]), None, {}])
def test_what_states_are_made_of_passes(value: object) -> None:
    pickled, sizes = pickle_of(value)
    check_pickle(Path("here"), pickled, sizes, most_tensors=64)


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(storage: bytes, offset: bytes = b"K\x00", size: bytes = b"K\x0a\x85", stride: bytes = b"K\x01\x85") -> bytes:
    return TENSOR + b"(" + storage + b"Q" + offset + size + stride + b"\x89" + HOOKS + b"tR"


def test_a_tensor_passes() -> None:
    check(tensor(storage_id()) + b".")


REFUSED: dict[str, tuple[bytes, str]] = {
    # The memo holds a tuple of another size; what lies before it looks like the honest one.
    "a memoised storage name": (
        storage_id(count=b"J\xff\xff\xff\x7f") + b"q\x01" + storage_id()[:-1] + b"h\x01Q.",
        "claims 8589934588 bytes, its member has 40",
    ),
    "a memoised name, of which the honest one is on top of the stack before": (
        storage_id(count=b"K\x0b") + b"q\x01" + storage_id() + b"h\x01Q.",
        "claims 44 bytes, its member has 40",
    ),
    "a name whose end is a memoised literal": (
        b"K\x0bq\x01" + storage_id(count=b"h\x01") + b"Q.",
        "claims 44 bytes",
    ),
    "a name that is a number": (b"K\x07Q.", "fetches a storage in a way"),
    "a name in a list": (b"]" + text("storage") + b"aQ.", "fetches a storage in a way"),
    "one storage of two types": (
        storage_id() + b"Q" + storage_id(kind=b"ctorch\nIntStorage\n") + b"Q.",
        "fetches a storage in a way",
    ),
    "a tuple as key": (EMPTY + b")" + NONE + END, "neither name nor number"),
    "a nest of tuples as key": (EMPTY + b")" + b"\x85" * 200_000 + NONE + END, "nested deeper than 32"),
    "a nest of tuples that is 2^30 at its ends, as key": (
        EMPTY + b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(30)) + NONE + END,
        "neither name nor number",
    ),
    "keys without values": (EMPTY + b"(K\x01u.", "a key without a value"),
    "tuples counted": (b"ccollections\nCounter\n])\x85a\x85R.", "other than with a new dict"),
    "an own dict of tuples": (b"ccollections\nOrderedDict\n])a\x85R.", "a call with other arguments"),
    "lists in lists": (b"]" * 200 + b"a" * 199 + b".", "nested deeper than 32"),
    "lists in lists, from outside": (b"]q\x00" + b"h\x00]q\x00a" * 200 + b".", "changes after it was put"),
    "a list in itself": (b"]q\x00h\x00a.", "put into itself"),
    "a dict that is copied for four bytes each": (
        b"ccollections\nCounter\nq\x00}q\x01K\x01K\x02s(" + b"h\x00h\x01\x85R" * 2 + b"t.",
        "other than with a new dict",
    ),
    "attributes that are copied for four bytes each": (
        HOOKS + b"}q\x01bh\x01b.",
        "other than with a new dict",
    ),
    "attributes of a tensor": (tensor(storage_id()) + EMPTY + b"b.", "is none"),
    "a tensor beyond its storage": (tensor(storage_id(), size=b"K\x0b\x85") + b".", "does not lie in its storage"),
    "a tensor behind its storage": (tensor(storage_id(), offset=b"K\x01") + b".", "does not lie in its storage"),
    "a tensor of strides": (tensor(storage_id(), stride=b"K\x02\x85") + b".", "does not lie in its storage"),
    "a tensor before its storage": (tensor(storage_id(), offset=b"J\xff\xff\xff\xff") + b".", "does not lie"),
    "a tensor of a negative size": (tensor(storage_id(), size=b"J\xff\xff\xff\xff\x85") + b".", "does not lie"),
    "more tensors than declared": (b"(" + tensor(storage_id()) * 9 + b"t.", "more tensors than the declared model"),
    "a call of a memoised tuple": (b")q\x00h\x00h\x00R.", "REDUCE"),
    "popping from nothing": (b"a.", "not a pickle"),
    "popping below a mark": (b"]K\x01(a.", "not a pickle"),
    "a memo that is not there": (b"h\x07.", "not a pickle"),
    "no end": (b"N", "not a pickle"),
}


@pytest.mark.parametrize(("pickled", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_pickle_that_builds_more_than_it_says_is_refused(pickled: bytes, said: str) -> None:
    began = time.process_time()
    with pytest.raises(InputError, match=said) as caught:
        check(pickled)
    assert time.process_time() - began < 20
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def in_a_process_of_its_own(path: Path) -> "subprocess.CompletedProcess[str]":
    """Read a file where a crash can be seen."""
    script = (
        "import sys; from pathlib import Path\n"
        "from raypol.store.published.torch_files import Budget, read_torch_file\n"
        "read_torch_file(Path(sys.argv[1]), Budget(tensor_bytes=4096, tensors=8))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda n: EMPTY + b")" + b"\x85" * n + NONE + END,
        lambda n: EMPTY + text("x") + b")" + b"\x85" * n + END,
        lambda n: b"ccollections\nCounter\n])" + b"\x85" * n + b"a\x85R.",
    ],
    ids=["a key", "a value", "counted"],
)
def test_a_nest_of_tuples_does_not_end_the_process(build: Callable[[int], bytes], tmp_path: Path) -> None:
    path = tmp_path / "model_step_0"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", BEGIN + build(250_000))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    done = in_a_process_of_its_own(path)
    assert done.returncode == 1, f"ended with {done.returncode}"
    assert "InputError" in done.stderr.splitlines()[-1]
    with pytest.raises(InputError, match="nested deeper than 32"):
        read_torch_file(path, Budget(tensor_bytes=4096, tensors=8))
