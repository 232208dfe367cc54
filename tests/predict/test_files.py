"""Arguments become picture files, each once; what means none is told."""

import errno
import os
from pathlib import Path

import pytest

from src.predict.files import find_pictures


def names(folder: Path, *arguments: str) -> list[str]:
    found, faults = find_pictures([str(folder / argument) for argument in arguments])
    assert not faults
    return [str(path.relative_to(folder)) for path in found]


def test_a_file_is_itself_even_if_it_is_not_there(photos: Path) -> None:
    assert names(photos, "notes.txt", "gone.png") == ["notes.txt", "gone.png"]


def test_a_folder_is_its_pictures(photos: Path) -> None:
    assert names(photos, "") == ["a.png", "b [1].JPG", "old/c.webp"]


def test_a_hidden_folder_that_is_named_is_taken(photos: Path, tmp_path: Path) -> None:
    hidden = tmp_path / ".cache/photos"
    hidden.mkdir(parents=True)
    (hidden / "a.png").write_bytes((photos / "a.png").read_bytes())
    assert names(hidden, "") == ["a.png"]


def test_a_pattern_is_the_files_that_fit(photos: Path) -> None:
    assert names(photos, "*.png") == ["a.png"]
    assert names(photos, "**/*.webp") == ["old/c.webp"]
    assert names(photos, "*") == ["a.png", "b [1].JPG", "damaged.txt", "notes.txt"]


def test_a_name_that_no_file_can_have_is_left_to_the_reading() -> None:
    assert find_pictures(["a" * 300]) == ([Path("a" * 300)], [])


def test_a_folder_with_a_link_to_nowhere_is_its_other_pictures(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes((photos / "a.png").read_bytes())
    for name in ("gone.png", "folder"):
        (tmp_path / name).symlink_to("a" * 300)
    assert names(tmp_path, "") == ["a.png"]
    assert names(tmp_path, "*.png") == ["a.png", "gone.png"]


def test_a_relative_pattern_is_seen_from_here(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    assert find_pictures(["old/*"]) == ([Path("old/c.webp")], [])


def test_a_file_named_like_a_pattern_is_itself(photos: Path) -> None:
    assert names(photos, "b [1].JPG") == ["b [1].JPG"]


def test_each_file_is_taken_once_in_the_order_of_the_arguments(photos: Path) -> None:
    assert names(photos, "old/c.webp", "", "a.png") == ["old/c.webp", "a.png", "b [1].JPG"]


def test_what_means_no_picture_is_told_and_the_rest_goes_on(photos: Path, tmp_path: Path) -> None:
    found, faults = find_pictures([str(tmp_path), str(photos / "*.bmp"), str(photos / "a.png")])
    assert found == [photos / "a.png"]
    assert faults == [
        (str(tmp_path), f"{tmp_path}: holds no picture; name a folder with pictures"),
        (f"{photos}/*.bmp", f"{photos}/*.bmp: no file has a name like this; check the pattern"),
    ]


def test_an_empty_name_is_not_this_folder() -> None:
    assert find_pictures([""]) == ([], [("", "a picture's name is empty; name a file or a folder")])


def test_a_folder_that_cannot_be_read_is_told(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read any, so the system's refusal is put in its place."""
    closed, scandir = photos / "old", os.scandir

    def refuse(place: str) -> object:
        if Path(place) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    fault = (str(closed), f"{closed}: cannot be read (Permission denied); make it readable")
    assert find_pictures([str(closed)]) == ([], [fault])
    found, faults = find_pictures([str(photos)])
    assert [path.name for path in found] == ["a.png", "b [1].JPG"]
    assert faults == [fault]


def test_pictures_of_a_kind_that_is_not_read_are_told(photos: Path) -> None:
    """As on a telephone, whose folders hold both kinds."""
    for name in (
        "IMG_1.HEIC",
        "old/IMG_2.heic",
        "old/x.jxl",
        ".hidden.heic",
        "drawing.svg",
        "DSC_3.NEF",
    ):
        (photos / name).touch()
    found, faults = find_pictures([str(photos)])
    assert len(found) == 3
    assert faults == [(
        str(photos),
        f"{photos}: 5 pictures of kinds that are not read here (.heic, .jxl, .nef, .svg), "
        "IMG_1.HEIC for one; save them as PNG or JPEG",
    )]  # fmt: skip


def test_a_folder_that_is_only_linked_is_told(photos: Path, tmp_path: Path) -> None:
    """It is not gone through, because it may lead back; and its pictures must not be missed."""
    (tmp_path / "a.png").write_bytes((photos / "a.png").read_bytes())
    (tmp_path / "linked").symlink_to(photos)
    found, faults = find_pictures([str(tmp_path)])
    assert found == [tmp_path / "a.png"]
    linked = str(tmp_path / "linked")
    assert faults == [(linked, f"{linked}: is a link to a folder; name that folder too")]
    assert len(find_pictures([linked])[0]) == 3
