"""Pictures in folders become records: right pixels, labels and parts; broken files are named."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from src.data.records import SIDE, canonical_order, from_records, record_digests
from src.pictures import to_square
from src.pipeline.errors import InputError
from src.pipeline.params import Data
from src.sources.folder import chosen_part, load_folder
from tests.conftest import tiny_values

CLASSES = ["cat", "sea horse", "ünïcode 猫"]


def draw(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def settings(root: Path, **changes: Any) -> Data:
    data = tiny_values()["data"] | {"source": "folder", "folder": str(root), **changes}
    return Data.model_validate(data)


def tree(root: Path, count: int = 40) -> dict[bytes, int]:
    """A folder for each class; the label of each picture, by its pixels."""
    labels = {}
    for label, name in enumerate(CLASSES):
        for i, image in enumerate(draw(count, label)):
            save(root / name / f"{i}.png", image)
            labels[image.tobytes()] = label
    return labels


def test_a_tree_is_split_and_labelled(tmp_path: Path) -> None:
    labels = tree(tmp_path)
    train, test, classes = load_folder(settings(tmp_path, test_share=0.25))
    assert classes == CLASSES
    found: dict[bytes, int] = {}
    for records in (train, test):
        assert records.tobytes() == canonical_order(records).tobytes()
        split = from_records(records)
        found |= {i.tobytes(): n for i, n in zip(split.images, split.labels, strict=True)}
    assert found == labels
    # 120 draws at 0.25: 30 on average, standard deviation 4.7.
    assert 16 < len(test) < 44
    assert len(train) + len(test) == 120


def test_a_new_picture_moves_no_other(tmp_path: Path) -> None:
    tree(tmp_path)
    before = [set(record_digests(part)) for part in load_folder(settings(tmp_path))[:2]]
    for i, image in enumerate(draw(15, 9)):
        save(tmp_path / "cat" / f"new {i}.bmp", image)
    (tmp_path / "sea horse/3.png").unlink()
    after = [set(record_digests(part)) for part in load_folder(settings(tmp_path))[:2]]
    assert sum(len(a - b) for a, b in zip(after, before, strict=True)) == 15
    assert sum(len(b - a) for a, b in zip(after, before, strict=True)) == 1


def test_the_share_is_that_of_all_pictures() -> None:
    images = draw(4000, 3)
    for share in (0.1, 0.5, 0.9):
        count = sum(chosen_part(image, share) == "test" for image in images)
        # Four standard deviations.
        assert abs(count - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5
    lower = [chosen_part(image, 0.1) == "test" for image in images]
    higher = [chosen_part(image, 0.2) == "test" for image in images]
    assert all(b for a, b in zip(lower, higher, strict=True) if a)


def test_copies_lie_in_one_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever their names and formats, so that no test picture is a training picture."""
    tree(tmp_path)
    for i, image in enumerate(draw(40, 0)):
        save(tmp_path / "cat" / f"copy {i}.bmp", image)
    train, test, _ = load_folder(settings(tmp_path))
    pixels = [{image.tobytes() for image in from_records(part).images} for part in (train, test)]
    assert len(train) + len(test) == 160
    assert not pixels[0] & pixels[1]
    assert capsys.readouterr().out == ""


def test_train_and_test_are_taken_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, name in enumerate(CLASSES):
        for i, image in enumerate(draw(4, label)):
            save(tmp_path / ("test" if i == 3 else "train") / name / f"{i}.png", image)
    save(tmp_path / "test/cat/again.bmp", draw(4, 1)[0])
    train, test, _ = load_folder(settings(tmp_path, test_share=0.9))
    assert np.bincount(from_records(train).labels).tolist() == [3, 3, 3]
    assert np.bincount(from_records(test).labels).tolist() == [2, 1, 1]
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/train/sea horse/0.png: is also a picture of another class "
        f"({tmp_path}/test/cat/again.bmp)",
        "1 of 13 pictures have two classes, which no network can learn; remove the wrong one of "
        "each two",
        f"{tmp_path}/test/cat/again.bmp: is also a training picture "
        f"({tmp_path}/train/sea horse/0.png)",
        "1 of 4 test pictures are training pictures too, so the test accuracy is too high; remove "
        "one of each two",
    ]


def test_a_picture_in_two_classes_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy in the same class contradicts nothing."""
    tree(tmp_path)
    first = draw(40, 0)[0]
    save(tmp_path / CLASSES[0] / "a copy.bmp", first)
    save(tmp_path / CLASSES[1] / "a copy.bmp", first)
    load_folder(settings(tmp_path))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{tmp_path}/{CLASSES[1]}/")
    assert "is also a picture of another class" in said[0]
    assert said[1].startswith("1 of 122 pictures have two classes")
    assert len(said) == 2


def test_a_large_picture_becomes_32_by_32(tmp_path: Path) -> None:
    """By the rule of src/pictures.py: here halves of one colour stay halves."""
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 200:] = (10, 200, 30)
    for part in ("train", "test"):
        save(tmp_path / part / "half/a.png", image)
        save(tmp_path / part / "other/a.png", draw(1, 0)[0])
    found = from_records(load_folder(settings(tmp_path))[0])
    (half,) = found.images[found.labels == 0]
    assert (half[:, :14] == 0).all()
    assert (half[:, 18:] == (10, 200, 30)).all()


def spoil(root: Path) -> list[Path]:
    """Two files that are no pictures."""
    broken = [root / "cat/broken.png", root / "sea horse/notes.txt"]
    broken[0].write_bytes((root / "cat/0.png").read_bytes()[:500])
    broken[1].write_text("not a picture")
    return broken


def test_files_that_are_no_pictures_are_listed_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, 10)
    broken = spoil(tmp_path)
    with pytest.raises(InputError, match=r"^2 of 32 files cannot be .*data\.unreadable: skip"):
        load_folder(settings(tmp_path))
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in listed] == [str(path) for path in broken]


def test_files_that_are_no_pictures_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, 10)
    whole = load_folder(settings(tmp_path))
    broken = spoil(tmp_path)
    skipped = load_folder(settings(tmp_path, unreadable="skip"))
    assert [part.tobytes() for part in skipped[:2]] == [part.tobytes() for part in whole[:2]]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [str(path) for path in broken]
    assert lines[-1] == "2 of 32 files are left out"


def test_a_class_without_a_picture_in_a_part_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, 10)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/a.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"class 'dog' has no readable picture for train; add"):
        load_folder(settings(tmp_path, unreadable="skip"))
    save(tmp_path / "dog/b.png", draw(1, 0)[0])
    with pytest.raises(InputError, match=r"class 'dog' has no readable picture for t"):
        load_folder(settings(tmp_path, unreadable="skip"))


def test_in_parts_of_your_own_nothing_is_shared_out(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            save(tmp_path / part / name / "a.png", draw(1, 0)[0])
    (tmp_path / "test/dog/a.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"'dog' has no readable picture for test; add more$"):
        load_folder(settings(tmp_path, unreadable="skip"))


def test_a_picture_for_which_the_memory_is_too_small_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else memory would decide which pictures the data have."""
    tree(tmp_path, 10)
    monkeypatch.setattr(Image.Image, "convert", Mock(side_effect=MemoryError))
    with pytest.raises(InputError, match=r"png: does not fit this machine's memory; make the pict"):
        load_folder(settings(tmp_path, unreadable="skip"))


def test_a_picture_that_fits_the_memory_alone_is_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some decoders call too little memory damage."""
    tree(tmp_path, 10)
    whole = load_folder(settings(tmp_path))
    faults = [MemoryError(), InputError("damaged")]

    def fail_at_first(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if faults:
            raise faults.pop()
        return to_square(picture)

    monkeypatch.setattr("src.sources.folder.to_square", fail_at_first)
    again = load_folder(settings(tmp_path, unreadable="skip"))
    assert [part.tobytes() for part in again[:2]] == [part.tobytes() for part in whole[:2]]


def test_what_is_listed_keeps_to_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, 10)
    (tmp_path / "cat/a\x1b[31m\nb.png").write_text("not a picture")
    load_folder(settings(tmp_path, unreadable="skip"))
    assert (
        capsys.readouterr().out.splitlines()[0].startswith(rf"{tmp_path}/cat/a\x1b[31m\nb.png: is")
    )
