"""Records: the layout, the order, the digest, and what damage to a file does."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data import records as cifar_binary
from src.pipeline.errors import InputError
from src.pipeline.files import write_json

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 20)


def draw_records(count, seed):
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, cifar_binary.RECORD_BYTES), np.uint8)
    records[:, 0] %= 10
    return records


def write_data(folder, records):
    """A data folder with test.bin and the report that names its content."""
    cifar_binary.write_split(folder / "test.bin", records)
    report = folder / "download.json"
    write_json(report, {"test_digest": cifar_binary.content_digest(records)})
    return report


def test_a_record_is_the_label_then_red_then_green_then_blue_row_by_row():
    record = np.arange(cifar_binary.RECORD_BYTES) % 251
    split = cifar_binary.from_records(record.astype(np.uint8)[None])
    assert split.labels.tolist() == [record[0]]
    for row, column, channel in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (31, 30, 2)]:
        expected = record[1 + 1024 * channel + 32 * row + column]
        assert split.images[0, row, column, channel] == expected


@given(counts, seeds)
def test_records_survive_the_round_trip_through_images_and_bytes(count, seed):
    records = draw_records(count, seed)
    split = cifar_binary.from_records(records)
    assert split.images.flags.c_contiguous
    np.testing.assert_array_equal(cifar_binary.to_records(split.images, split.labels), records)
    parsed = cifar_binary.parse_records(records.tobytes(), "x.bin", "mend")
    np.testing.assert_array_equal(parsed, records)


@given(counts, seeds, st.randoms())
def test_order_and_digest_do_not_depend_on_the_order_that_came(count, seed, random):
    records = draw_records(count, seed)
    shuffled = records[random.sample(range(count), count)]
    canonical = cifar_binary.canonical_order(records)
    assert cifar_binary.canonical_order(shuffled).tobytes() == canonical.tobytes()
    assert cifar_binary.content_digest(shuffled) == cifar_binary.content_digest(records)
    hashes = [hashlib.sha256(record.tobytes()).digest() for record in records]
    assert [hashlib.sha256(r.tobytes()).digest() for r in canonical] == sorted(hashes)
    expected = hashlib.sha256(b"".join(sorted(hashes))).hexdigest()
    assert cifar_binary.content_digest(records) == expected


@given(counts, seeds, st.integers(0), st.integers(0, 7))
def test_one_flipped_bit_changes_the_digest(count, seed, place, bit):
    records = draw_records(count, seed)
    before = cifar_binary.content_digest(records)
    records.reshape(-1)[place % records.size] ^= 1 << bit
    assert cifar_binary.content_digest(records) != before


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_cut_file_is_refused_by_name_with_the_mend(size):
    with pytest.raises(InputError, match=rf"^here/x\.bin: is damaged \({size:,} bytes .*; do it$"):
        cifar_binary.parse_records(bytes(size), "here/x.bin", "do it")


def test_read_split_returns_what_was_written(tmp_path):
    records = draw_records(5, 0)
    split = cifar_binary.read_split(tmp_path, "test", write_data(tmp_path, records))
    np.testing.assert_array_equal(cifar_binary.to_records(split.images, split.labels), records)
    assert len(split) == 5


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_a_whole_record(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -cifar_binary.RECORD_BYTES])


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
    report = write_data(tmp_path, draw_records(5, 0))
    damage(tmp_path / "test.bin")
    with pytest.raises(InputError) as caught:
        cifar_binary.read_split(tmp_path, "test", report)
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / 'test.bin'}: ")
    assert what in sentence
    assert sentence.endswith("run `dvc repro -f -s download` to write it anew")
    assert "\n" not in sentence


def test_a_report_without_the_digest_vouches_for_nothing(tmp_path):
    report = write_data(tmp_path, draw_records(5, 0))
    write_json(report, {"train_digest": "0"})
    with pytest.raises(InputError, match="not the data"):
        cifar_binary.read_split(tmp_path, "test", report)


def test_a_subset_keeps_images_and_labels_together():
    split = cifar_binary.from_records(draw_records(9, 1))
    subset = split.subset(np.array([7, 2]))
    np.testing.assert_array_equal(subset.images, split.images[[7, 2]])
    assert subset.labels.tolist() == split.labels[[7, 2]].tolist()


def test_class_names_are_read_in_order(tmp_path):
    (tmp_path / "classes.txt").write_text("ship\ncat\n\n")
    assert cifar_binary.read_classes(tmp_path) == ["ship", "cat"]


@pytest.mark.parametrize("content", ["", "\n", "ship\n"])
def test_fewer_than_two_class_names_are_refused(tmp_path, content):
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(InputError, match=r"classes\.txt: is damaged .*dvc repro"):
        cifar_binary.read_classes(tmp_path)
