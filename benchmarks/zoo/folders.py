"""Folders that are no plain files, small files that unfold to large ones, and single bits that are flipped."""

import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.zoo.specimens import Bad, Base, sealed
from tests.store import damage as damages
from tests.store.damage import Damage, edit_manifest, fix_sizes, put

CODECS: Final = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
_SAME: Final = "the same content"


def folders(base: Base, elsewhere: Path) -> Iterator[Bad]:
    """Links, pipes, devices, folders, paths that leave the folder, sizes that are no sizes."""
    last = f"weights/step={base.recipe.steps}.parquet"
    names = ("manifest.json", "batches.parquet", "weights/step=0.parquet", last)
    kept = Path(shutil.copytree(base.folder, elsewhere / "kept"))
    for name in names:
        for what, put_there in {
            "a link to itself": lambda path: path.symlink_to(path.name),
            "a link to nothing": lambda path: path.symlink_to("/nowhere"),
            "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
            "a link to /dev/full": lambda path: path.symlink_to("/dev/full"),
            "a link to /etc/passwd": lambda path: path.symlink_to("/etc/passwd"),
            "a link to /proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
            "a link to a folder": lambda path: path.symlink_to("/tmp"),  # noqa: S108 - any folder
            "a pipe": os.mkfifo,
            "a folder": lambda path: path.mkdir(),
            "nothing": lambda _: None,
            "an empty file": lambda path: path.write_bytes(b""),
            "8 GB of nothing": _sparse,
        }.items():
            for size in ("as it was", "-1", "as found"):
                if name == "manifest.json" and size != "as it was":
                    continue
                yield Bad(
                    f"{name} is {what}, its size {size}", partial(_replace, name=name, put_there=put_there, size=size)
                )
        excuse = "a link to the same content"
        yield Bad(
            f"{name} is a link to the honest one elsewhere", partial(_link, name=name, target=kept / name), excuse
        )
    for word in (
        "../outside",
        "/etc/passwd",
        "weights/../../x",
        "weights/step=0.parquet/",
        "",
        ".",
        "..",
        "a\0b",
        "x" * 5000,
        "C:\\x",
    ):
        for count in (-1, 0, 1):
            yield Bad(
                f"files lists {word[:20]!r} of {count} bytes",
                put("files", word, value=count),
                "a name that is never opened",
            )
    for name in names[1:]:
        for number in (-1, 0, 2**62, 2**63, 10**30, 1.5, "1", None, True):
            yield Bad(f"files gives {name} {number!r} bytes", put("files", name, value=number))
        yield Bad(f"files lacks {name}", partial(_without_file, name=name))
    yield Bad("the folder is a link", _folder_link, _SAME)
    yield Bad("weights is a link elsewhere", partial(_link, name="weights", target=kept / "weights"), _SAME)
    yield Bad("files that nobody lists", lambda folder: (folder / "more.parquet").write_bytes(b"x"), _SAME)
    yield Bad("weights of two steps exchanged", partial(_exchange_files, a="weights/step=0.parquet", b=last))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


def _without_file(folder: Path, *, name: str) -> None:
    edit_manifest(lambda manifest: manifest["files"].pop(name), folder)


def _replace(folder: Path, *, name: str, put_there: Damage, size: str) -> None:
    path = folder / name
    path.unlink()
    put_there(path)
    if size == "-1":
        put("files", name, value=-1)(folder)
    elif size == "as found" and path.exists():
        put("files", name, value=path.stat().st_size)(folder)


def _link(folder: Path, *, name: str, target: Path) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(target)


def _folder_link(folder: Path) -> None:
    moved = folder.with_name("moved")
    folder.rename(moved)
    folder.symlink_to(moved)


def _exchange_files(folder: Path, *, a: str, b: str) -> None:
    (folder / a).rename(folder / "x")
    (folder / b).rename(folder / a)
    (folder / "x").rename(folder / b)
    fix_sizes(folder)


# --- bombs -----------------------------------------------------------------------------------------------------------


def bombs(base: Base) -> Iterator[Bad]:
    """Small files that unfold to large ones, of every codec; a base with own points."""
    weights = f"weights/step={base.recipe.interval}.parquet"
    for codec in CODECS:
        if codec != "none":
            yield Bad(
                f"bomb: one tensor of 128 MiB, {codec}", partial(damages.compressed_zeros, name=weights, codec=codec)
            )
        yield Bad(f"bomb: four million steps, {codec}", partial(damages.steps_of_one_value, codec=codec))
        yield Bad(f"bomb: a batch of forty million, {codec}", partial(damages.one_endless_batch, codec=codec))
        yield Bad(f"bomb: 4,096 points of 64 KiB, {codec}", partial(damages.points_of_one_value, codec=codec))
        for name in (weights, "batches.parquet", "points.parquet"):
            told = "the same content, of a codec that raypol writes" if codec in ("none", "zstd") else ""
            yield Bad(f"the honest {name} stored with {codec}", sealed(partial(_stored, name=name, codec=codec)), told)
    for bomb in (damages.zeros_behind_the_steps, damages.repeated_row_groups):
        yield Bad(f"bomb: {(bomb.__doc__ or '').rstrip('.')}", bomb)
    yield Bad("bomb: 2,000 tensors of one value", partial(damages.tensors_of_one_value, name=weights))
    for rows in (1, 7):
        yield Bad(
            f"row groups of {rows} rows",
            sealed(partial(_stored, name="batches.parquet", codec="zstd", rows=rows)),
            _SAME,
        )
    for version in ("1.0", "2.6"):
        for pages in ("1.0", "2.0"):
            change = partial(_stored, name=weights, codec="none", version=version, data_page_version=pages)
            yield Bad(f"Parquet {version} with pages {pages}", sealed(change), _SAME)
    yield Bad(
        "dictionaries in the weights", sealed(partial(_stored, name=weights, codec="none", use_dictionary=True)), _SAME
    )


def _stored(folder: Path, *, name: str, codec: str, rows: int | None = None, **options: object) -> None:
    path = folder / name
    found: pa.Table = pq.read_table(path)
    settings = {"use_dictionary": False, "write_statistics": False, **options}
    pq.write_table(found, path, compression=codec, row_group_size=rows, **settings)
    fix_sizes(folder)


# --- bits ------------------------------------------------------------------------------------------------------------


def flips(base: Base, each: int, seed: int = 0) -> Iterator[Bad]:
    """One bit at random places of every kind of file; half of them with the root that goes with it."""
    draw = random.Random(seed)
    steps = base.recipe.checkpoint_steps()
    names = [
        "manifest.json",
        "batches.parquet",
        *(f"weights/step={s}.parquet" for s in (0, steps[len(steps) // 2], steps[-1])),
    ]
    names += ["points.parquet"] if base.proof.num_points else []
    for name in names:
        size = (base.folder / name).stat().st_size
        for number in range(each):
            # Half of them where a file tells about itself: its end.
            at = draw.randrange(size) if number % 2 else size - 1 - draw.randrange(min(size, 2000))
            bit = draw.randrange(8)
            flip = partial(_flip, name=name, at=at, bit=bit)
            yield Bad(f"{name}: bit {bit} of byte {at}", flip)


def _flip(folder: Path, *, name: str, at: int, bit: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[at] ^= 1 << bit
    (folder / name).write_bytes(content)
