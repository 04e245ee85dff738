"""Saving figures: files appear whole, the same rows give the same bytes; every figure survives every kind of bad rows."""

from io import BytesIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from raypol.core.errors import InputError
from raypol.figures import save
from tests.figures.figure_rows import honest_row, image_pairs, row


def test_saved_pictures_open(tmp_path: Path) -> None:
    figure = save.before_after([image_pairs(n=1)])
    png, pdf = save.save_figure(figure, tmp_path / "new folder" / "v1.2")
    assert (png.name, pdf.name) == ("v1.2.png", "v1.2.pdf")
    width, height = figure.get_size_inches()
    shape = imread(png).shape
    assert shape[:2] == (pytest.approx(height * 160, abs=1), pytest.approx(width * 160, abs=1))
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert sorted(path.name for path in png.parent.iterdir()) == ["v1.2.pdf", "v1.2.png"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [honest_row(), row("II")]
    first = save.save_figure(save.six_panels(rows), tmp_path / "a")
    second = save.save_figure(save.six_panels(rows), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_failure_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = save.before_after([])
    old = [path.read_bytes() for path in save.save_figure(figure, tmp_path / "x")]

    def broken(_: Figure, content: BytesIO, **__: object) -> None:
        content.write(b"half a picture")
        raise RuntimeError("no more")

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(RuntimeError, match="no more"):
        save.save_figure(figure, tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pdf", "x.png"]
    assert [(tmp_path / f"x.{kind}").read_bytes() for kind in ("png", "pdf")] == old


def test_a_folder_that_cannot_be_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the figure"):
        save.save_figure(save.before_after([]), tmp_path / "file" / "x")


def test_names_that_no_font_has_are_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    save.save_figure(
        save.six_panels([honest_row(), row("\u653b\u51fb"), row("a\tb\x00c")]), tmp_path / "x", kinds=("png",)
    )
    assert [str(warning.message) for warning in recwarn] == []
