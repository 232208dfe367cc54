"""What the download stage writes and the others read: every image once, in its split, checked."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from src.data.dataset import read_classes, read_split, read_training_data, write_dataset
from src.data.records import RECORD_BYTES, Split, canonical_order, content_digest, to_records
from src.pipeline.errors import InputError
from src.pipeline.files import read_json, write_json
from src.pipeline.params import Data, Params
from src.sources.shapes import CLASSES, draw
from stages import download as stage
from tests.conftest import tiny_values
from tests.sources.tiny_archive import NAMES, SOURCE, TEST, TRAIN, draw_records


def test_the_download_stage_signs_what_it_writes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage.main(Params.model_validate(tiny_values()), {})
    for name in ("train", "test"):
        assert read_json(tmp_path / f"data/{name}.json", "")["source"] == "shapes"


def data(**changes: object) -> Data:
    return Data.model_validate(tiny_values()["data"] | changes)


def keys(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the download stage leaves."""
    folder = tmp_path_factory.mktemp("data")
    images, labels, _ = draw(200, 0)
    records = canonical_order(to_records(images, labels))
    assert write_dataset(folder, records, records[:20], CLASSES, "shapes") == {
        "train_images": 200, "test_images": 20,
    }  # fmt: skip
    return folder


@pytest.mark.parametrize("limit", [None, 100])
def test_held_out_images_are_not_trained_on(folder: Path, limit: int | None) -> None:
    read = read_training_data(folder, data(train_limit=limit))
    assert read.validation is not None
    assert (len(read.train), len(read.validation)) == (limit or 160, 40)
    assert len(keys(read.train)) == len(read.train)
    assert not keys(read.train) & keys(read.validation)
    assert np.bincount(read.validation.labels).tolist() == [4] * 10


def test_classes_of_which_none_is_held_out_are_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_training_data(folder, data(val_size=10))
    assert capsys.readouterr().out == ""
    read_training_data(folder, data(val_size=3))
    assert capsys.readouterr().out == (
        "note: data.val_size: 3 holds out no image of 7 of the classes, so val_accuracy says "
        "nothing of them (params.yaml)\n"
    )


def test_classes_of_which_none_is_left_to_train_on_are_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_training_data(folder, data(val_size=10, train_limit=7))
    assert capsys.readouterr().out == (
        "note: data.val_size and data.train_limit leave no image of 3 of the classes to train on, "
        "so the network cannot learn them (params.yaml)\n"
    )


def test_without_a_split_all_images_are_trained_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = read_training_data(folder, data(val_size=0))
    assert capsys.readouterr().out == ""
    assert read.validation is None
    assert len(keys(read.train)) == 200


def test_statistics_are_red_green_blue_of_all_images(folder: Path) -> None:
    read = read_training_data(folder, data(train_limit=50))
    pixels = draw(200, 0)[0].reshape(-1, 3) / 255
    assert np.allclose(read.mean, pixels.mean(0))
    assert np.allclose(read.std, pixels.std(0))
    assert len(set(read.mean)) == 3
    assert read.classes == list(CLASSES)


def test_a_report_without_statistics_is_refused(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "data"))
    content = (other / "train.json").read_text().replace("mean_red", "mean_grey")
    (other / "train.json").write_text(content)
    with pytest.raises(InputError, match=r"train\.json: is damaged \(no channel statistics\)"):
        read_training_data(other, data())


def write_data(folder, records, **report):
    """A data folder with test.bin, ten classes, and the report that names its content."""
    (folder / "test.bin").write_bytes(records.tobytes())
    (folder / "classes.txt").write_text("\n".join(NAMES))
    about = {"source": "cifar10", "digest": content_digest(records)}
    write_json(folder / "test.json", about | report)


def test_read_split_returns_what_was_written(tmp_path):
    records = draw_records(5, 0)
    write_data(tmp_path, records)
    split = read_split(tmp_path, "test")
    np.testing.assert_array_equal(to_records(split.images, split.labels), records)
    assert len(split) == 5


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_a_whole_record(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-RECORD_BYTES])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4000] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (cut, "whole number"),
        (cut_a_whole_record, "not the data"),
        (flip_a_bit, "not the data"),
        (lambda path: path.write_bytes(b""), "whole number"),
        (Path.unlink, "cannot be read"),
    ],
)
def test_a_damaged_split_is_refused_in_one_sentence(tmp_path, damage, what):
    write_data(tmp_path, draw_records(5, 0))
    damage(tmp_path / "test.bin")
    with pytest.raises(InputError) as caught:
        read_split(tmp_path, "test")
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / 'test.bin'}: ")
    assert what in sentence
    assert sentence.endswith("run `dvc repro -f -s download` to write it anew")
    assert "\n" not in sentence


def test_a_report_without_the_digest_vouches_for_nothing(tmp_path):
    write_data(tmp_path, draw_records(5, 0))
    write_json(tmp_path / "test.json", {"source": "cifar10", "images": 5})
    with pytest.raises(InputError, match="not the data"):
        read_split(tmp_path, "test")


@pytest.mark.parametrize(
    "content",
    [b"sea horse\ncat\n\n", b"sea horse \r\n  cat\r\n", b" sea horse\r\n cat \n\n \n"],
)
def test_class_names_are_read_in_order_one_a_line(tmp_path, content):
    """Also where a person has written them."""
    (tmp_path / "classes.txt").write_bytes(content)
    assert read_classes(tmp_path) == ["sea horse", "cat"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "has 0 instead of 2 to 256 names"),
        ("\n", "has 0 instead of 2 to 256 names"),
        ("ship\n", "has 1 instead of 2 to 256 names"),
        ("ship\n\ncat\n", "class 1 is '', which is no name in one line"),
        ("\nship\ncat\n", "class 0 is '', which is no name in one line"),
        ("cat\nship\ncat \n", "names 'cat' twice"),
        ("\n".join(map(str, range(257))), "has 257 instead of 2 to 256 names"),
    ],
)
def test_class_names_that_fit_no_network_are_refused(tmp_path, content, what):
    write_json(tmp_path / "train.json", {"source": "shapes"})
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(InputError) as caught:
        read_classes(tmp_path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / 'classes.txt'}: {what}; ")
    assert sentence.endswith("run `dvc repro -f -s download` to write it anew")


def test_class_names_are_written_as_they_were_one_a_line(tmp_path):
    names = ["sea horse", "$x_", "猫", "a"]
    write_dataset(tmp_path, TRAIN % 4, TEST % 4, names)
    assert (tmp_path / "classes.txt").read_bytes() == "sea horse\n$x_\n猫\na\n".encode()
    assert read_classes(tmp_path) == names


def test_the_files_of_cifar10_are_the_records_and_the_ten_names(tmp_path):
    write_dataset(tmp_path, TRAIN, TEST, NAMES, "cifar10")
    assert (tmp_path / "train.bin").read_bytes() == TRAIN.tobytes()
    assert (tmp_path / "test.bin").read_bytes() == TEST.tobytes()
    lines = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n"
    assert (tmp_path / "classes.txt").read_bytes() == lines


def test_the_training_reports_numbers_are_of_the_train_images(tmp_path):
    write_dataset(tmp_path, TRAIN, TEST, NAMES)
    values = read_json(tmp_path / "train.json", "")
    numbers = [key for key, value in values.items() if isinstance(value, int | float)]
    assert len(numbers) == 7
    green = TRAIN[:, 1 + 1024 : 1 + 2048] / 255
    assert values["mean_green"] == pytest.approx(green.mean(), rel=1e-12)
    assert values["std_green"] == pytest.approx(green.std(), rel=1e-12)
    assert (values["images"], values["digest"]) == (20, SOURCE.train_digest)
    test = {"source": "own", "images": 4, "digest": SOURCE.test_digest}
    assert read_json(tmp_path / "test.json", "") == test


def test_other_test_images_alter_nothing_that_training_reads(tmp_path):
    for folder, test in (("a", TEST), ("b", TEST[:2])):
        write_dataset(tmp_path / folder, TRAIN, test, NAMES)
    for name in ("train.bin", "train.json", "classes.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a/test.json").read_bytes() != (tmp_path / "b/test.json").read_bytes()
