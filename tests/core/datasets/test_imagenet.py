"""The ImageNet subset from ImageFolders on disk: what is decoded, the mapped cache, bad folders and images."""

import json
import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from raypol.core.datasets import imagenet
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import _load, load_dataset
from raypol.core.datasets.parts import Parts
from raypol.core.errors import InputError

SIZES = [(150, 200), (200, 150), (128, 128), (60, 40), (131, 300)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test's own."""
    monkeypatch.setenv("RAYPOL_DATA", str(tmp_path / "home"))
    _load.cache_clear()
    yield tmp_path / "home" / "decoded"
    _load.cache_clear()


def save(path: Path, seed: int, size: tuple[int, int] = (150, 200), mode: str = "RGB") -> None:
    """A picture of smooth colours, which JPEG keeps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)


def write(root: Path, *, classes: int = 3, splits: tuple[str, ...] = ("train", "val"), each: int = 3) -> Path:
    """An ImageFolder like ImageNet's: n01..., JPEG, a few PNG, grey and CMYK images among them."""
    for s, split in enumerate(splits):
        for c in range(classes):
            for i in range(each):
                seed = 100 * s + 10 * c + i
                suffix, mode = [("JPEG", "RGB"), ("png", "L"), ("jpg", "CMYK")][i % 3]
                save(root / split / f"n{c:08d}" / f"{split}_{i}.{suffix}", seed, SIZES[seed % len(SIZES)], mode)
    return root


def load(root: Path, classes: int = 3, seen: list[tuple[str, int, int]] | None = None) -> Parts:
    """Past the memory of this process."""
    watch = (lambda *said: seen.append(said)) if seen is not None else (lambda *_: None)
    return imagenet.load(root, watch, num_classes=classes)


def classic(root: Path) -> tuple[torch.Tensor, list[int]]:
    """The published pipeline: torchvision's ImageFolder and transforms, image by image."""
    steps = [transforms.Resize(128), transforms.CenterCrop(128), transforms.PILToTensor()]
    folder = ImageFolder(str(root), transforms.Compose(steps))
    return torch.stack([pixels for pixels, _ in folder]), folder.targets


# --- what is decoded -------------------------------------------------------------------------------------------------


def test_it_is_what_torchvisions_own_pipeline_makes(tmp_path: Path) -> None:
    root = write(tmp_path / "images")
    dataset = load_dataset("imagenet_subset@classes=3", root)
    assert (dataset.name, dataset.image_shape, dataset.num_classes) == ("imagenet_subset@classes=3", (3, 128, 128), 3)
    for split, pixels, labels in (
        ("train", dataset.pixels, dataset.labels),
        ("val", dataset.test_pixels, dataset.test_labels),
    ):
        expected, targets = classic(root / split)
        assert torch.equal(pixels, expected)
        assert labels.tolist() == targets


def test_the_first_ten_classes_by_name_are_taken_and_the_number_can_be_told(tmp_path: Path) -> None:
    root = write(tmp_path / "imagenet", classes=11, each=1)
    ten, eleven = load_dataset("imagenet_subset", root), load_dataset("imagenet_subset@classes=11", root)
    assert [len(dataset) for dataset in (ten, eleven)] == [10, 11]
    assert torch.equal(ten.pixels, eleven.pixels[:10])
    # A folder that holds it under its own name: one --data-dir for several datasets.
    assert load_dataset("imagenet_subset", tmp_path).sha256 == ten.sha256


def test_without_val_a_seeded_fifth_is_held_out(tmp_path: Path) -> None:
    root = write(tmp_path / "images", splits=("",), each=5)
    whole, again = load(root), load(root)
    assert (len(whole.labels), len(whole.test_labels)) == (12, 3)
    assert torch.equal(whole.test_pixels, again.test_pixels)
    pixels, targets = classic(root)
    images = torch.cat([whole.pixels, whole.test_pixels]).flatten(1).tolist()
    found = sorted(zip(images, [*whole.labels.tolist(), *whole.test_labels.tolist()], strict=True))
    assert found == sorted(zip(pixels.flatten(1).tolist(), targets, strict=True)), "each image once, with its label"


def test_a_half_has_half_of_the_images_and_all_of_the_tests(tmp_path: Path) -> None:
    root = write(tmp_path / "images", each=4)
    parts: list[Dataset] = [load_dataset(f"imagenet_subset@classes=3/D{n}@7", root) for n in (1, 2)]
    whole = load_dataset("imagenet_subset@classes=3", root)
    assert [len(part) for part in parts] == [6, 6]
    found = sorted(digest.tobytes() for part in parts for digest in part.point_digests)
    assert found == sorted(digest.tobytes() for digest in whole.point_digests)
    assert all(torch.equal(part.test_pixels, whole.test_pixels) for part in parts)


def test_files_that_are_no_images_by_name_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write(tmp_path / "images")
    before = load(root)
    (root / "train" / "n00000001" / "readme.txt").write_text("not an image")
    (root / "train" / "LICENSE").write_text("beside the classes")
    with caplog.at_level(logging.WARNING):
        after = load(root)
    assert torch.equal(before.pixels, after.pixels)
    assert "1 files are no images" in caplog.text
    assert "readme.txt" in caplog.text


def _hidden_folder(root: Path) -> None:
    save(root / "train" / ".ipynb_checkpoints" / "0-checkpoint.png", 1)
    save(root / "train" / "n00000000" / ".ipynb_checkpoints" / "0-checkpoint.png", 2)


def _hidden_image(root: Path) -> None:
    save(root / "train" / "n00000000" / "more" / "._0.png", 1)


def _of_a_mac(root: Path) -> None:
    (root / "train" / "__MACOSX" / "n00000000").mkdir(parents=True)
    (root / "train" / "__MACOSX" / "n00000000" / "._0.png").write_bytes(b"Mac OS X")
    (root / "train" / ".DS_Store").write_bytes(b"Bud1")


def _of_windows(root: Path) -> None:
    (root / "train" / "n00000000" / "Thumbs.db").write_bytes(b"thumbs")


def _pipe(root: Path) -> None:
    os.mkfifo(root / "train" / "n00000000" / "pipe.png")


@pytest.mark.parametrize("change", [_hidden_folder, _hidden_image, _of_a_mac, _of_windows, _pipe])
def test_what_lies_beside_the_images_is_no_class_and_no_image(change: Callable[[Path], None], tmp_path: Path) -> None:
    root = write(tmp_path / "images")
    before = load(root)
    change(root)
    after = load(root)
    assert torch.equal(before.pixels, after.pixels)
    assert torch.equal(before.labels, after.labels)
    assert load(write(tmp_path / ".hidden" / "images")).labels.tolist() == before.labels.tolist(), (
        "below a dot is no dot"
    )


def test_links_are_followed_once(tmp_path: Path) -> None:
    root = write(tmp_path / "images")
    before = load(root)
    part = root / "train" / "n00000001"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(root / "train" / "n00000001")
    assert torch.equal(load(root).pixels, before.pixels)
    (tmp_path / "more").mkdir()
    save(tmp_path / "more" / "z.png", 77)
    (part / "more").symlink_to(tmp_path / "more")
    assert len(load(root).labels) == len(before.labels) + 1


# --- every mode of Pillow --------------------------------------------------------------------------------------------

RAMP = np.arange(150 * 200).reshape(150, 200)
"""Less than 2^15."""


def _stored(root: Path, image: Image.Image, name: str, **options: Any) -> torch.Tensor:  # noqa: ANN401
    """What becomes of one image that is saved in a file."""
    for i in range(5):
        (root / "x").mkdir(parents=True, exist_ok=True)
        image.save(root / "x" / f"{i}{name}", **options)
    return load(root, classes=1).pixels[0]


def colours(pixels: torch.Tensor) -> set[tuple[int, ...]]:
    """Distinct colours of an image (3, H, W)."""
    return set(map(tuple, pixels.flatten(1).T.tolist()))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_modes_of_8_bits_become_rgb_as_pillow_converts_them(mode: str, tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = Image.fromarray(small).resize((200, 150), Image.Resampling.BICUBIC)
    image = Image.merge("LAB", smooth.split()) if mode == "LAB" else smooth.convert(mode)
    pixels = _stored(tmp_path / "images", image, ".tiff")
    steps = transforms.Compose([transforms.Resize(128), transforms.CenterCrop(128), transforms.PILToTensor()])
    assert torch.equal(pixels, steps(image.convert("RGB")))


def test_transparency_and_colours_behind_it(tmp_path: Path) -> None:
    """The stored colours, as torchvision takes them; no background shines through."""
    clear = Image.new("RGBA", (150, 150), (10, 20, 30, 0))
    assert colours(_stored(tmp_path / "rgba", clear, ".png")) == {(10, 20, 30)}
    palette = Image.new("P", (150, 150), 0)
    palette.putpalette([10, 20, 30])
    assert colours(_stored(tmp_path / "palette", palette, ".png", transparency=0)) == {(10, 20, 30)}


DEEP: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "I;16 png": (lambda: Image.fromarray((2 * RAMP).astype(np.uint16)), ".png"),
    "I;16 tiff": (lambda: Image.fromarray((2 * RAMP).astype(np.uint16)), ".tiff"),
    "I;16B tiff": (lambda: Image.frombytes("I;16B", (200, 150), (2 * RAMP).astype(">u2").tobytes()), ".tiff"),
    "I pgm": (lambda: Image.fromarray((2 * RAMP).astype(np.int32)), ".pgm"),
}


@pytest.mark.parametrize("case", DEEP)
def test_16_bits_keep_their_range(case: str, tmp_path: Path) -> None:
    make, suffix = DEEP[case]
    pixels = _stored(tmp_path / "images", make(), suffix)
    high = Image.fromarray((2 * RAMP // 256).astype(np.uint8)).convert("RGB")
    steps = transforms.Compose([transforms.Resize(128), transforms.CenterCrop(128), transforms.PILToTensor()])
    assert torch.equal(pixels, steps(high))
    assert pixels.float().std() > 50, "not all white"


def tiff_of_12_bits(*, white_is_zero: bool) -> bytes:
    """128x128, the left half 0 and the right half 0x888 of 12 bits or, where white is 0, 0x8888 of 16."""
    row = bytes(256) if not white_is_zero else bytes(128) + b"\x88" * 128
    row = row if white_is_zero else bytes(96) + b"\x88" * 96
    bits, pixels = (16 if white_is_zero else 12), row * 128
    entries = {
        256: 128,
        257: 128,
        258: bits,
        259: 1,
        262: int(not white_is_zero),
        273: 122,
        277: 1,
        278: 128,
        279: len(pixels),
    }
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + fields + bytes(4) + pixels


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_tags_of_a_tiff_say_its_range_and_its_sense(white_is_zero: bool, tmp_path: Path) -> None:
    (tmp_path / "images" / "x").mkdir(parents=True)
    for i in range(5):
        (tmp_path / "images" / "x" / f"{i}.tif").write_bytes(tiff_of_12_bits(white_is_zero=white_is_zero))
    pixels = load(tmp_path / "images", classes=1).pixels[0]
    left, right = (0xFF, 0x77) if white_is_zero else (0, 0x88)
    assert colours(pixels[..., :64]) == {(left,) * 3}
    assert colours(pixels[..., 64:]) == {(right,) * 3}


@pytest.mark.parametrize(
    ("values", "suffix", "mode"),
    [
        (RAMP.astype(np.int32), ".tiff", "mode I in a TIFF file"),
        (RAMP.astype(np.float32), ".tiff", "mode F in a TIFF file"),
        (RAMP.astype(np.float32), ".ppm", "mode F in a PPM file"),
    ],
)
def test_numbers_without_a_known_range_are_refused_with_file_and_mode(
    values: np.ndarray, suffix: str, mode: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"x/0\{suffix}: .*{mode}.*convert it to 8 bits"):
        _stored(tmp_path / "images", Image.fromarray(values), suffix)


def test_of_several_frames_the_first_and_no_turning_by_exif(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (128, 128), colour) for colour in ("red", "blue"))
    for name in (".tiff", ".png", ".webp"):
        options = {"lossless": True} if name == ".webp" else {}
        pixels = _stored(tmp_path / name[1:], red, name, save_all=True, append_images=[blue], **options)
        assert colours(pixels) == {(255, 0, 0)}
    half = Image.new("L", (128, 128))
    half.paste(255, (0, 0, 64, 128))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert _stored(tmp_path / "turned", half, ".png", exif=exif)[0, 64, :64].float().mean() == 255.0


# --- the cache -------------------------------------------------------------------------------------------------------


def test_images_are_decoded_once_with_progress_and_mapped_afterwards(tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "images")
    first: list[tuple[str, int, int]] = []
    second: list[tuple[str, int, int]] = []
    made, found = load(root, seen=first), load(root, seen=second)
    assert [(done, of) for _, done, of in first] == [(n, 18) for n in range(1, 19)]
    assert second == []
    assert torch.equal(made.pixels, found.pixels)
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    said = json.loads((folder / "made_from.json").read_text())
    assert said["classes"] == ["n00000000", "n00000001", "n00000002"]
    assert said["files"][0][0] == "train/n00000000/train_0.JPEG"
    # Mapped, and private: what a user does to the tensor does not reach the file.
    content = (folder / "pixels.u8").read_bytes()
    found.pixels.zero_()
    assert (folder / "pixels.u8").read_bytes() == content
    assert load(root).pixels.any()


def _other_image(root: Path) -> None:
    save(root / "train" / "n00000000" / "train_0.JPEG", 999)


def _one_more(root: Path) -> None:
    save(root / "train" / "n00000000" / "train_9.JPEG", 998)


def _one_less(root: Path) -> None:
    (root / "val" / "n00000002" / "val_1.png").unlink()


def _other_class(root: Path) -> None:
    (root / "train" / "n00000000" / "train_0.JPEG").rename(root / "train" / "n00000001" / "moved.JPEG")


def _touched(root: Path) -> None:
    os.utime(root / "train" / "n00000000" / "train_0.JPEG", ns=(1, 1))


@pytest.mark.parametrize("change", [_other_image, _one_more, _one_less, _other_class, _touched])
def test_another_source_is_decoded_anew_and_the_old_file_goes(
    change: Callable[[Path], None], tmp_path: Path, cache: Path
) -> None:
    root = write(tmp_path / "images")
    load(root)
    change(root)
    seen: list[tuple[str, int, int]] = []
    changed = load(root, seen=seen)
    assert seen
    for split, pixels in (("train", changed.pixels), ("val", changed.test_pixels)):
        assert torch.equal(pixels, classic(root / split)[0])
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_other_classes_and_other_roots_have_files_of_their_own(tmp_path: Path, cache: Path) -> None:
    roots = [write(tmp_path / name) for name in ("a", "b")]
    for root in roots:
        load(root, 2)
        load(root, 3)
    seen: list[tuple[str, int, int]] = []
    for root in roots:
        load(root, 2, seen)
        load(root, 3, seen)
    assert seen == []
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 4


def test_a_cache_file_of_another_length_is_said_not_mapped(tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "images")
    load(root)
    (content,) = cache.glob("*/pixels.u8")
    content.write_bytes(content.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"expected 884736 bytes .* remove"):
        load(root)


def test_many_that_start_at_once_decode_once(tmp_path: Path) -> None:
    root = write(tmp_path / "images")
    seen: list[tuple[str, int, int]] = []
    found: list[Parts] = []
    threads = [threading.Thread(target=lambda: found.append(load(root, seen=seen))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(seen) == 18


KILL_HALFWAY = """
import os, signal, sys
from pathlib import Path
from typing import Any
from raypol.core.datasets import imagenet

def die(what: str, done: int, of: int) -> None:
    if done == of // 2:
        os.kill(os.getpid(), signal.SIGKILL)

imagenet.load(Path(sys.argv[1]), die, num_classes=3)
"""


def test_a_killed_decoding_leaves_nothing_that_is_taken_for_whole(tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "images")
    done = subprocess.run([sys.executable, "-c", KILL_HALFWAY, root], check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == []
    assert any(path.name.endswith(".partial") for path in cache.iterdir()), "it was killed at work"
    assert torch.equal(load(root).pixels, classic(root / "train")[0])
    assert not any(path.name.endswith(".partial") for path in cache.iterdir())


# --- bad input -------------------------------------------------------------------------------------------------------


def _too_few(root: Path) -> None:
    for path in sorted((root / "train" / "n00000002").iterdir()):
        path.unlink()
    (root / "train" / "n00000002").rmdir()


def _no_val(root: Path) -> None:
    (root / "val").rename(root / "test")


def _empty_class(root: Path) -> None:
    for path in (root / "val" / "n00000001").iterdir():
        path.unlink()


def _only_hidden(root: Path) -> None:
    _empty_class(root)
    save(root / "val" / "n00000001" / ".a.png", 1)


def _link_to_nothing(root: Path) -> None:
    (root / "val" / "n00000001" / "away.png").symlink_to(root / "nowhere.png")


def _only_text(root: Path) -> None:
    _empty_class(root)
    (root / "val" / "n00000001" / "a.txt").write_text("x")


def broken(content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / "train" / "n00000001" / "train_0.JPEG").write_bytes(content)

    return change


def _cut(root: Path) -> None:
    path = root / "train" / "n00000001" / "train_0.JPEG"
    path.write_bytes(path.read_bytes()[:-200])


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large, and is, once decompressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "fewer classes than asked": (
        _too_few,
        r"at least 3 folders of classes in .*train, got 2; imagenet_subset@classes=2",
    ),
    "no val": (_no_val, r"expected images .*val/n00000000"),
    "a class without images": (_empty_class, r"expected images .*val/n00000001, found none"),
    "a class of text": (_only_text, r"expected images .*val/n00000001, found none"),
    "a class of hidden files": (
        _only_hidden,
        r"expected images .*val/n00000001, found none; hidden files do not count",
    ),
    "a link to nothing": (_link_to_nothing, r"cannot read .*n00000001/away.png \(No such file"),
    "text with an image's name": (broken(b"hello"), r"n00000001/train_0.JPEG: not a readable image"),
    "an empty image": (broken(b""), r"n00000001/train_0.JPEG: not a readable image"),
    "a cut image": (_cut, r"n00000001/train_0.JPEG: not a readable image"),
    "PostScript with an image's name": (
        broken(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
        r"n00000001/train_0.JPEG: not a readable image",
    ),
    "an image beyond Pillow's limit": (
        broken(png_of_size(60_000, 60_000)),
        r"train_0.JPEG: not a readable image .*bomb",
    ),
    "an image between Pillow's warning and its limit": (
        broken(png_of_size(10_000, 10_000)),
        r"train_0.JPEG: .*10000x10000",
    ),
    "an image of one line": (broken(png_of_size(1, 1_000_000)), r"train_0.JPEG: .* sides at most 64:1, got 1x1000000"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_and_images_are_named(case: str, tmp_path: Path, cache: Path) -> None:
    change, message = BAD[case]
    root = write(tmp_path / "images")
    change(root)
    with pytest.raises(InputError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or all(path.name.endswith(".lock") for path in cache.iterdir())


@pytest.mark.parametrize("name", ["imagenet_subset", "imagenet_subset@classes=3"])
def test_without_a_folder_one_line_says_where_it_goes(name: str, tmp_path: Path) -> None:
    for folder, place in ((None, tmp_path / "home" / "imagenet"), (tmp_path / "nowhere", tmp_path / "nowhere")):
        with pytest.raises(InputError, match=r"train/<class>/ and val/<class>/ in .*--data-dir") as caught:
            load_dataset(name, folder)
        assert str(place) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "imagenet_subset@",
        "imagenet_subset@20",
        "imagenet_subset@classes=",
        "imagenet_subset@classes=-1",
        "digits@classes=3",
    ],
)
def test_another_spelling_is_no_dataset(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown dataset .*imagenet_subset@classes=20"):
        load_dataset(name)


def test_no_classes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="classes >= 1"):
        load_dataset("imagenet_subset@classes=0", write(tmp_path / "images", classes=1, each=1))


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("RAYPOL_DATA", str(tmp_path / "a_file"))
    with pytest.raises(InputError, match=r"cannot write .*RAYPOL_DATA may name another folder"):
        load(write(tmp_path / "images"))
