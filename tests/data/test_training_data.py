"""What training reads: no image twice, none of the held-out ones, channels in their order."""

from pathlib import Path

import numpy as np
import pytest

from src.data.records import Split, canonical_order, to_records, write_split
from src.data.training_data import read_training_data
from src.pipeline.errors import InputError
from src.pipeline.files import write_bytes, write_json
from src.pipeline.params import Data
from src.sources.cifar10 import report
from src.sources.shapes import CLASSES, draw
from tests.conftest import tiny_values


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
    write_split(folder / "train.bin", records)
    write_bytes(folder / "classes.txt", "\n".join(CLASSES).encode())
    write_json(folder / "report.json", report(records, records[:20]))
    return folder


@pytest.mark.parametrize("limit", [None, 100])
def test_held_out_images_are_not_trained_on(folder: Path, limit: int | None) -> None:
    read = read_training_data(folder, folder / "report.json", data(train_limit=limit))
    assert read.validation is not None
    assert (len(read.train), len(read.validation)) == (limit or 160, 40)
    assert len(keys(read.train)) == len(read.train)
    assert not keys(read.train) & keys(read.validation)
    assert np.bincount(read.validation.labels).tolist() == [4] * 10


def test_without_a_split_all_images_are_trained_on(folder: Path) -> None:
    read = read_training_data(folder, folder / "report.json", data(val_size=0))
    assert read.validation is None
    assert len(keys(read.train)) == 200


def test_statistics_are_red_green_blue_of_all_images(folder: Path) -> None:
    read = read_training_data(folder, folder / "report.json", data(train_limit=50))
    pixels = draw(200, 0)[0].reshape(-1, 3) / 255
    assert np.allclose(read.mean, pixels.mean(0))
    assert np.allclose(read.std, pixels.std(0))
    assert len(set(read.mean)) == 3
    assert read.classes == list(CLASSES)


def test_a_report_without_statistics_is_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "report.json").read_text().replace("mean_red", "mean_grey")
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match=r"report\.json: is damaged \(no channel statistics\)"):
        read_training_data(folder, tmp_path / "report.json", data())
