"""A folder of your own is understood, or refused in a sentence that names what is in the way."""

import os
import unicodedata
from pathlib import Path

import pytest

from src.pipeline.errors import InputError
from src.sources.tree import File, list_files


def grow(root: Path, *names: str) -> Path:
    """Make the files, empty, and the folders, whose names end in a slash."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return root


def test_each_folder_is_a_class(tmp_path: Path) -> None:
    root = grow(tmp_path, "sea horse/b.png", "sea horse/a.jpg", "猫/1.gif", "Ähre/ü.png")
    assert list_files(root) == [
        File(root / "sea horse/a.jpg", "sea horse", ""),
        File(root / "sea horse/b.png", "sea horse", ""),
        File(root / "Ähre/ü.png", "Ähre", ""),
        File(root / "猫/1.gif", "猫", ""),
    ]


def test_folders_train_and_test_are_the_parts(tmp_path: Path) -> None:
    root = grow(tmp_path, "test/cat/a.png", "test/dog/a.png", "train/dog/b.png", "train/cat/b.png")
    assert list_files(root) == [
        File(root / "test/cat/a.png", "cat", "test"),
        File(root / "test/dog/a.png", "dog", "test"),
        File(root / "train/cat/b.png", "cat", "train"),
        File(root / "train/dog/b.png", "dog", "train"),
    ]


def test_a_train_can_be_a_class(tmp_path: Path) -> None:
    files = list_files(grow(tmp_path, "train/a.png", "tram/b.png"))
    assert [(file.name, file.part) for file in files] == [("train", ""), ("tram", "")]


def test_what_is_no_picture_of_a_class_is_passed_over(tmp_path: Path) -> None:
    """Hidden files, what Windows, Macs and editors leave, and files beside the classes."""
    droppings = [".DS_Store", "cat/.DS_Store", "cat/._a.png", "dog/Thumbs.db", "dog/desktop.ini"]
    droppings += ["cat/a.png~", "dog/b.png.swp"]
    root = grow(tmp_path, "cat/a.png", "dog/b.png", *droppings, ".git/x/y", "labels.csv")
    assert [file.path.name for file in list_files(root)] == ["a.png", "b.png"]


def test_a_name_is_the_same_from_a_mac(tmp_path: Path) -> None:
    """An accent of its own and a letter that has it are one name."""
    apart, joined = (unicodedata.normalize(form, "Bär") for form in ("NFD", "NFC"))
    root = grow(tmp_path, f"train/{apart}/a.png", f"test/{joined}/b.png", "train/x/a", "test/x/a")
    assert {file.name for file in list_files(root)} == {joined, "x"}


REFUSED = {
    "only one class": (["cat/a.png"], "{root}: has 1 instead of 2 to 256 names"),
    "nothing": ([], "{root}: has 0 instead of 2 to 256 names"),
    "257 classes": ([f"{i}/a.png" for i in range(257)], "{root}: has 257 instead of 2 to 256"),
    "empty class": (["cat/a.png", "dog/b.png", "emu/"], "{root}/emu: holds no picture"),
    "deeper": (["cat/old/a.png", "dog/b.png"], "{root}/cat/old: is a folder in the folder of a"),
    "parts, no test": (["train/cat/a", "val/cat/a"], "{root}/val/cat: is a folder in the folder"),
    "a third part": (["train/cat/a", "test/cat/a", "val/cat/a"], "{root}/val: lies beside train"),
    "class missing in test": (
        ["train/cat/a", "train/dog/a", "train/emu/a", "test/cat/a", "test/emu/a"],
        "{root}/test/dog: is missing; every class needs pictures in train and in test",
    ),
    "flat test": (
        ["train/cat/a", "train/dog/a", "test/a"],
        "{root}/test/dog: is missing; every class needs pictures in train and in test",
    ),
    "empty test": (
        ["train/cat/a", "train/dog/a", "test/"],
        "{root}/test/dog: is missing; every class needs pictures in train and in test",
    ),
    "empty parts": (["train/", "test/"], "{root}: has 0 instead of 2 to 256 names"),
    "space at the end": (["cat /a", "dog/b"], "{root}: class 0 is 'cat ', which is no name"),
    "two lines": (["cat\nx/a", "dog/b"], r"{root}: class 0 is 'cat\nx', which is no name"),
    "escape": (["\x1b[31m/a", "dog/b"], r"{root}: class 0 is '\x1b[31m', which is no name"),
    "no UTF-8": ([os.fsdecode(b"\xff/a"), "dog/b"], r"{root}: class 1 is '\udcff', which is no"),
    "two accents": (["B\u00e4r/a", "Ba\u0308r/a"], "another folder has the same name; rename one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_layout_is_refused(case: str, tmp_path: Path) -> None:
    names, sentence = REFUSED[case]
    with pytest.raises(InputError) as raised:
        list_files(grow(tmp_path, *names))
    assert sentence.format(root=tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)
    str(raised.value).encode()


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_named(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    if kind == "file":
        root.touch()
    with pytest.raises(InputError, match=r"pictures: cannot be read as a folder \(N.*data\.folder"):
        list_files(root)


def test_a_link_to_a_class_is_refused(tmp_path: Path) -> None:
    """DVC does not look inside."""
    root = grow(tmp_path, "a/cat/1.png", "b/dog/1.png") / "a"
    (root / "dog").symlink_to(tmp_path / "b/dog")
    with pytest.raises(InputError, match=r"a/dog: is a link to a folder, in which DVC would not"):
        list_files(root)


def test_a_file_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """DVC keeps names in a data base that has UTF-8 alone, and would fail after the stage."""
    root = grow(tmp_path, "cat/a.png", "dog/b.png")
    try:
        os.mknod(os.fsencode(root / "dog") + b"/M\xf6nch.png")
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    with pytest.raises(InputError, match=r"dog/M\\udcf6nch\.png: has a name that is not UTF-8"):
        list_files(root)


def test_faults_of_a_kind_are_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = grow(tmp_path, "ape/", "bee/old/a.png", "cat/a.png", "dog/")
    with pytest.raises(InputError, match=r"/dog: holds no picture"):
        list_files(root)
    assert capsys.readouterr().out.splitlines() == [
        f"{root}/ape: holds no picture; put some there, or remove it",
        f"{root}/bee/old: is a folder in the folder of a class; move its pictures up, or name the "
        "folder that holds the classes with data.folder (params.yaml); to choose the test "
        "pictures yourself, make two folders, train and test",
    ]
