"""Data that no network could be trained on are refused where they enter: written, or read."""

import json

import numpy as np
import pytest

from src.data.dataset import (
    read_classes,
    read_split,
    read_statistics,
    read_training_data,
    write_dataset,
)
from src.data.records import RECORD_BYTES
from src.pipeline.errors import InputError
from src.pipeline.params import Data
from tests.conftest import tiny_values
from tests.sources.tiny_archive import draw_records, listing

THREE = ["cat", "dog", "sea horse"]
OWN = 'write {0} again (docs/running.md, "Your own images")'
STAGE = "run `dvc repro -f -s download` to write it anew"
BOTH = f"if you wrote {{0}} yourself, {OWN}, else {STAGE}"


def labelled(count, first=0):
    """Records with the labels first, first + 1, first + 2, first, …"""
    records = draw_records(count, 0)
    records[:, 0] = first + np.arange(count) % 3
    return records


def constant(channel, value=7):
    records = labelled(6)
    records[:, 1 + 1024 * channel : 1 + 1024 * (channel + 1)] = value
    return records


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


GOOD = labelled(6)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"train": labelled(6, 1)}, "train: has label 3, but the 3 classes have the labels 0 to 2"),
        ({"test": labelled(6, 1)}, "test: has label 3, but the 3 classes have the labels 0 to 2"),
        ({"classes": THREE[:2]}, "train: has label 2, but the 2 classes have the labels 0 to 1"),
        ({"train": GOOD[:0]}, "train: (0, 3073) uint8, not (N, 3073) uint8 with N above 0"),
        ({"test": GOOD[:0]}, "test: (0, 3073) uint8, not (N, 3073) uint8 with N above 0"),
        ({"train": GOOD[:, 1:]}, "train: (6, 3072) uint8, not (N, 3073) uint8"),
        ({"test": GOOD[0]}, "test: (3073,) uint8, not (N, 3073) uint8"),
        ({"test": GOOD.astype(float)}, "test: (6, 3073) float64, not (N, 3073) uint8"),
        ({"train": constant(0)}, "train: red has mean 0.027451 and deviation 0: it cannot be nor"),
        ({"train": constant(2, 0)}, "train: blue has mean 0 and deviation 0: it cannot be normal"),
        ({"classes": ["cat"]}, "classes: has 1 instead of 2 to 256 names"),
        ({"classes": [str(i) for i in range(257)]}, "classes: has 257 instead of 2 to 256 names"),
        ({"classes": [*THREE, "dog"]}, "classes: names 'dog' twice"),
        ({"classes": [*THREE, "a\tb"]}, r"classes: class 3 is 'a\tb', which is no name"),
        ({"classes": [*THREE, "\udcff"]}, r"classes: class 3 is '\udcff', which is no name"),
        ({"classes": [*THREE, ""]}, "classes: class 3 is '', which is no name in one line"),
        ({"classes": [*THREE, " bee"]}, "classes: class 3 is ' bee', which is no name in one"),
        ({"classes": [*THREE, "a\nb"]}, "classes: class 3 is 'a\\nb', which is no name in one"),
        ({"classes": [*THREE, "a\u2028b"]}, "classes: class 3 is 'a\\u2028b', which is no name"),
        ({"classes": [0, 1, 2]}, "classes: class 0 is 0, which is no name in one line"),
    ],
)
def test_nothing_is_written_of_data_that_cannot_be_used(tmp_path, change, what):
    parts = {"train": GOOD, "test": GOOD[:3], "classes": THREE} | change
    sentence = refusal(write_dataset, tmp_path, *parts.values())
    assert sentence.startswith(what)
    assert "download" not in sentence
    assert listing(tmp_path) == []


def test_as_many_classes_as_a_byte_can_name(tmp_path):
    records = draw_records(256, 0)
    records[:, 0] = np.arange(256)
    names = [f"class {i}" for i in range(256)]
    write_dataset(tmp_path, records, records, names)
    assert read_classes(tmp_path) == names
    assert read_split(tmp_path, "train").labels.tolist() == list(range(256))


@pytest.fixture(params=["own", "shapes", None])
def written(request, tmp_path):
    """A data folder by each kind of writer, and how its files are mended.

    None: reports without a source, of an earlier version.
    """
    source = request.param
    write_dataset(tmp_path, GOOD, GOOD[:3], THREE, source or "own")
    if source is None:
        for name in ("train", "test"):
            edit_report(tmp_path, name, source=None)
    return tmp_path, {"own": OWN, "shapes": STAGE, None: BOTH}[source].format(tmp_path)


def edit_report(folder, name="train", **changes):
    report = json.loads((folder / f"{name}.json").read_text()) | changes
    kept = {key: value for key, value in report.items() if value is not None}
    (folder / f"{name}.json").write_text(json.dumps(kept))


def edit_classes(folder):
    (folder / "classes.txt").write_text("cat\ndog\n")


def flip_a_bit(folder):
    path = folder / "train.bin"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])


def enlarge(folder):
    (folder / "train.bin").write_bytes(bytes(5 * (1 + 3 * 64 * 64)))


def read(folder):
    values = tiny_values()["data"] | {"val_size": 0}
    read_training_data(folder, Data.model_validate(values))


@pytest.mark.parametrize(
    ("damage", "what", "first"),
    [
        (flip_a_bit, "train.bin: is damaged (not the data that ", ""),
        (lambda folder: (folder / "train.bin").unlink(), "train.bin: cannot be read", ""),
        (lambda folder: (folder / "classes.txt").unlink(), "classes.txt: cannot be read", ""),
        (
            enlarge,
            "train.bin: is damaged or holds pictures of another size than 32×32 (61,445 bytes "
            f"is not a whole number of {RECORD_BYTES:,}-byte records)",
            "resize them to 32×32, then ",
        ),
        (
            edit_classes,
            "train.bin: has label 2, but the 2 classes have the labels 0 to 1",
            "number the labels from 0, or name every class, then ",
        ),
        (
            lambda folder: edit_report(folder, std_red=0.0),
            "train.json: red has mean 0.",
            "let each channel vary, if need be as a copy of another one, then ",
        ),
        (
            lambda folder: edit_report(folder, mean_blue=float("nan")),
            "train.json: blue has mean nan and deviation 0.",
            "let each channel vary, if need be as a copy of another one, then ",
        ),
        (lambda folder: edit_report(folder, std_red=None), "train.json: is damaged", ""),
    ],
)
def test_a_file_is_mended_by_the_one_who_wrote_it(written, damage, what, first):
    folder, mend = written
    damage(folder)
    sentence = refusal(read, folder)
    assert sentence.startswith(f"{folder}/{what}")
    write = OWN.format(folder)
    assert sentence.endswith(f"; {mend.replace(write, first + write)}")


@pytest.mark.parametrize("report", [None, b"", b"[]", b'{"source": 1'])
def test_without_a_report_both_who_may_have_written_are_told(tmp_path, report):
    write_dataset(tmp_path, GOOD, GOOD[:3], THREE)
    for name in ("train.json", "test.json"):
        (tmp_path / name).unlink()
        if report is not None:
            (tmp_path / name).write_bytes(report)
    for call in (read, read_statistics):
        sentence = refusal(call, tmp_path)
        assert sentence.startswith(f"{tmp_path}/train.json: ")
        assert sentence.endswith(f"; {BOTH.format(tmp_path)}")


def test_the_test_split_is_held_to_the_classes_too(tmp_path):
    write_dataset(tmp_path, GOOD, GOOD[:3], THREE)
    edit_classes(tmp_path)
    sentence = refusal(read_split, tmp_path, "test")
    place = f"({tmp_path}/classes.txt)"
    what = "test.bin: has label 2, but the 2 classes have the labels 0 to 1"
    assert sentence.startswith(f"{tmp_path}/{what} {place}; number the labels from 0")
