"""The split is stratified, exact and the same every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.split import sample, split
from src.pipeline.errors import InputError

LABELS = np.arange(1000) % 10


def test_sizes_and_strata() -> None:
    train, validation = split(LABELS, 100, None, 0)
    assert len(train) == 900
    assert (np.bincount(LABELS[validation]) == 10).all()
    assert not set(train) & set(validation)
    assert sorted([*train, *validation]) == list(range(1000))


def test_the_limit_leaves_the_validation_images_alone() -> None:
    train, validation = split(LABELS, 100, None, 0)
    fewer, same = split(LABELS, 100, 50, 0)
    assert (same == validation).all()
    assert set(fewer) < set(train)
    assert (np.bincount(LABELS[fewer]) == 5).all()


def test_a_generous_limit_is_no_limit() -> None:
    assert len(split(LABELS, 100, 10**6, 0)[0]) == 900


def test_seeds() -> None:
    assert (sample(LABELS, 100, 3) == sample(LABELS, 100, 3)).all()
    assert (sample(LABELS, 100, 3) != sample(LABELS, 100, 4)).any()


def test_no_validation() -> None:
    train, validation = split(LABELS, 0, None, 0)
    assert len(train) == 1000
    assert len(validation) == 0


def test_the_only_image_of_a_class_is_trained_on() -> None:
    """Largest remainders alone would hold it out."""
    labels = np.append(np.arange(1000) % 10, 10)
    train, validation = split(labels, 201, None, 0)
    assert len(validation) == 201
    assert np.bincount(labels[train], minlength=11)[10] == 1
    # 990 of 1,001 leave one of each class, and more leave none of some.
    assert (np.bincount(labels[split(labels, 990, None, 0)[0]]) == 1).all()
    assert len(split(labels, 995, None, 0)[0]) == 6


@pytest.mark.parametrize("size", [1000, 5000])
def test_nothing_left_to_train_on(size: int) -> None:
    with pytest.raises(InputError, match=rf"data\.val_size: {size} leaves none of the 1000"):
        split(LABELS, size, None, 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.data())
def test_any_sample_is_exact_and_nearly_proportional(
    classes: list[int], data: st.DataObject
) -> None:
    labels = np.array(classes)
    total = data.draw(st.integers(0, len(classes)))
    chosen = sample(labels, total, 0)
    assert len(set(chosen)) == len(chosen) == total
    counts = np.bincount(labels[chosen], minlength=10)
    exact = np.bincount(labels, minlength=10) * total / len(labels)
    assert (np.abs(counts - exact) < 1).all()
