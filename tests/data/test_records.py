"""Records: the layout, the order, the digest, and what damage to a file does."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data import records as cifar_binary
from src.pipeline.errors import InputError
from tests.sources.tiny_archive import draw_records

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 20)


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


IMAGES = np.zeros((4, 32, 32, 3), np.uint8)
LABELS = np.arange(4)


@pytest.mark.parametrize(
    ("images", "labels", "what"),
    [
        (IMAGES[:, :28, :28], LABELS, "images: (4, 28, 28, 3) uint8, not (N, 32, 32, 3) uint8; "),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, "images: (4, 3, 32, 32) uint8, not (N, 32, 32, 3"),
        (IMAGES[..., 0], LABELS, "images: (4, 32, 32) uint8, not (N, 32, 32, 3) uint8; "),
        (IMAGES / 255, LABELS, "images: (4, 32, 32, 3) float64, not (N, 32, 32, 3) uint8; "),
        (IMAGES, LABELS[:3], "labels: (3,) int64, not (4,) integers; "),
        (IMAGES, LABELS[:, None], "labels: (4, 1) int64, not (4,) integers; "),
        (IMAGES, LABELS / 1, "labels: (4,) float64, not (4,) integers; "),
        (IMAGES, LABELS - 1, "labels: -1 is not 0 to 255; number classes from 0"),
        (IMAGES, LABELS + 253, "labels: 256 is not 0 to 255; number classes from 0"),
    ],
)
def test_pictures_and_labels_of_another_kind_are_refused(images, labels, what):
    with pytest.raises(InputError) as caught:
        cifar_binary.to_records(images, labels)
    assert str(caught.value).startswith(what)


def test_labels_may_be_a_list_and_reach_255():
    records = cifar_binary.to_records(IMAGES, [0, 1, 2, 255])
    assert cifar_binary.from_records(records).labels.tolist() == [0, 1, 2, 255]


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
    what = rf"is damaged or holds pictures of another size than 32×32 \({size:,} bytes "
    with pytest.raises(InputError, match=rf"^here/x\.bin: {what}.*; do it$"):
        cifar_binary.parse_records(bytes(size), "here/x.bin", "do it")


def test_a_subset_keeps_images_and_labels_together():
    split = cifar_binary.from_records(draw_records(9, 1))
    subset = split.subset(np.array([7, 2]))
    np.testing.assert_array_equal(subset.images, split.images[[7, 2]])
    assert subset.labels.tolist() == split.labels[[7, 2]].tolist()
