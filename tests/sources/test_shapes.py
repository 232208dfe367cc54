"""The built-in sample has the same bytes everywhere, balanced classes, and true masks."""

import hashlib

import cv2
import numpy as np
import pytest

from src.sources.shapes import CLASSES, LUMA, NOISE, draw

SAMPLE = draw(200, seed=0)
EDGE = np.ones((3, 3), np.uint8)
PINNED = "dd828f2b9597921373a1ad57ee37560448488a6ffac3dcd95d236da1354ad860"


def bytes_of(n, seed):
    return b"".join(array.tobytes() for array in draw(n, seed))


def test_shapes_and_types():
    images, labels, masks = SAMPLE
    assert (images.shape, images.dtype) == ((200, 32, 32, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((200,), np.int64)
    assert (masks.shape, masks.dtype) == ((200, 32, 32), np.bool_)


def test_class_names_are_ten_single_words():
    assert len(set(CLASSES)) == 10
    assert " ".join(CLASSES).split() == list(CLASSES)


def test_same_seed_gives_the_same_bytes_whatever_the_global_state():
    np.random.seed(1)
    first = bytes_of(20, seed=3)
    np.random.seed(2)
    assert bytes_of(20, seed=3) == first


def test_bytes_are_the_pinned_ones():
    # The demo's committed dvc.lock and metrics depend on these bytes. If an OpenCV or NumPy
    # release, or a processor, changes them, this test must fail before a metric moves unexplained.
    assert hashlib.sha256(bytes_of(40, seed=0)).hexdigest() == PINNED


@pytest.mark.parametrize("n", [1, 10, 37, 200])
def test_classes_are_balanced_to_within_one(n):
    counts = np.bincount(draw(n, seed=5)[1], minlength=10)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_order_is_shuffled():
    labels = SAMPLE[1]
    assert not np.array_equal(labels, np.arange(200) % 10)
    assert not np.array_equal(labels, np.sort(labels))


def test_an_image_hangs_on_its_key_and_label_alone():
    # n decides only the order of the classes, so images with the same key and label are equal.
    few, many = draw(50, seed=0), SAMPLE
    same = np.flatnonzero(few[1] == many[1][:50])
    assert len(same) > 0
    np.testing.assert_array_equal(few[0][same], many[0][same])


def test_seeds_share_no_image():
    train = {image.tobytes() for image in SAMPLE[0]}
    test = {image.tobytes() for image in draw(200, seed=1)[0]}
    assert len(train) == len(test) == 200
    assert not train & test


def test_masks_are_neither_specks_nor_the_whole_image():
    area = SAMPLE[2].mean(axis=(1, 2))
    assert area.min() > 0.05
    assert area.max() < 0.5


@pytest.mark.parametrize("i", range(len(SAMPLE[0])))
def test_mask_is_the_shape(i):
    """Beyond its edge, all pixels outside are brighter than the shape, or all are darker."""
    brightness, mask = SAMPLE[0][i] @ LUMA / 1000, SAMPLE[2][i].astype(np.uint8)
    inside = brightness[cv2.erode(mask, EDGE) == 1]
    outside = brightness[cv2.dilate(mask, EDGE) == 0]
    shape = np.median(inside)
    assert (abs(inside - shape) <= NOISE[1]).mean() > 0.9
    assert (outside > shape).all() or (outside < shape).all()


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-1, 0), (10, -1)])
def test_refuses_what_it_cannot_draw(n, seed):
    with pytest.raises(ValueError, match="at least"):
        draw(n, seed)
