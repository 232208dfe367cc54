"""Each explanation gets a file of its own, and none takes a picture's place."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.pipeline.errors import InputError
from src.predict.explanations import explanation_files
from src.predict.sheet import draw_explanation


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def test_one_picture_goes_to_the_file_that_is_named() -> None:
    assert explanation_files(Path("out.png"), paths("a.jpg")) == paths("out.png")


def test_several_pictures_go_to_a_folder_each_under_its_name() -> None:
    files = explanation_files(Path("out"), paths("a.jpg", "a.png", "old/a.jpg", "older/a.jpg"))
    wanted = paths("out/a.jpg.png", "out/a.png.png", "out/a.jpg-2.png", "out/a.jpg-3.png")
    assert files == wanted


def test_no_two_pictures_get_one_file() -> None:
    """Nor where A.png and a.png are one file."""
    files = explanation_files(
        Path("out"), paths("x/a.jpg", "y/a.jpg", "z/a.jpg-2", "B.png", "b.PNG")
    )
    names = ["a.jpg.png", "a.jpg-2.png", "a.jpg-2-2.png", "B.png.png", "b.PNG-2.png"]
    assert files == [Path("out", name) for name in names]


def test_a_folder_may_be_named_like_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "out.png"
    folder.mkdir()
    assert explanation_files(folder, paths("a.jpg")) == [folder / "a.jpg.png"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.png is one file for 2 pictures; name a folder"):
        explanation_files(Path("out.png"), paths("a.jpg", "b.jpg"))
    with pytest.raises(InputError, match=r"out\.jpg is neither a file\.png nor a folder"):
        explanation_files(Path("out.jpg"), paths("a.jpg"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is neither a file\.png nor a folder"):
        explanation_files(tmp_path / "file", paths("a.jpg"))


def test_a_name_that_no_file_can_have_is_left_to_the_writing() -> None:
    name = Path("a" * 300)
    assert explanation_files(name, [name]) == [name / f"{name}.png"]


def test_no_picture_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"a\.png is a picture to predict; name another place"):
        explanation_files(tmp_path / "a.png", paths("a.png"))
    with pytest.raises(InputError, match=r"a\.jpg\.png is a picture to predict"):
        explanation_files(Path(), paths("a.jpg", "a.jpg.png"))


def test_only_an_explanation_is_overwritten(tmp_path: Path) -> None:
    """As where the shell makes `--explain a.png b.png` of `--explain *.png`."""
    photo, other, sheet = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "why" / "b.png.png"
    for path in (photo, other):
        Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(InputError, match=r"a\.png is there, and is no explanation; name another"):
        explanation_files(photo, [other])
    pixels = np.zeros((32, 32, 3), np.uint8)
    draw_explanation(sheet, pixels, {"layer4": np.zeros((4, 4))}, "b.png", "cat")
    assert explanation_files(sheet, [other]) == [sheet]
    assert explanation_files(sheet.parent, [other]) == [sheet]
    sheet.write_bytes(b"a text")
    with pytest.raises(InputError, match=r"b\.png\.png is there, and is no explanation"):
        explanation_files(sheet.parent, [other])


@pytest.mark.parametrize("there", [False, True])
def test_no_picture_is_overwritten_under_another_name(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "link.png").symlink_to("a.png")
    (tmp_path / "same").symlink_to("p")
    if there:
        (folder / "a.png").write_bytes(b"")
    for target, picture in [
        ("../p/a.png", "a.png"),
        ("a.png", "../p/a.png"),
        ("a.png", "link.png"),
        ("../same/a.png", "a.png"),
    ]:
        with pytest.raises(InputError, match="is a picture to predict"):
            explanation_files(Path(target), paths(picture))
    assert explanation_files(Path("b.png"), paths("a.png")) == paths("b.png")
