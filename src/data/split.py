"""Stratified validation split and training limit."""

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from src.pipeline.errors import InputError

Indices = NDArray[np.int64]


def shares(counts: Indices, total: int, spare: bool = False) -> Indices:
    """How many images of each class a stratified sample of `total` has (largest remainders).

    spare: leave an image of each class, unless there are too few others.
    """
    exact = counts * total / counts.sum()
    taken = np.floor(exact).astype(np.int64)
    last = (taken + 1 >= counts) & spare
    largest_first = np.lexsort((-(exact - taken), last))
    taken[largest_first[: total - taken.sum()]] += 1
    return taken


def sample(labels: Indices, total: int, seed: int, spare: bool = False) -> Indices:
    """Sorted indices of a stratified random sample of `total` images; spare: as for `shares`."""
    counts = np.bincount(labels)
    chosen = []
    for label, count in enumerate(shares(counts, total, spare)):
        order = Generator(Philox(key=[seed, label])).permutation(np.flatnonzero(labels == label))
        chosen.append(order[:count])
    return np.sort(np.concatenate(chosen))


def split(
    labels: Indices, val_size: int, train_limit: int | None, seed: int
) -> tuple[Indices, Indices]:
    """Indices (train, validation); the limit applies after the split, so validation stays the same.

    labels: (N,) class indices. Raises InputError if val_size leaves no image to train on.
    """
    if val_size >= len(labels):
        raise InputError(
            f"data.val_size: {val_size} leaves none of the {len(labels)} images to train on; "
            "lower it (params.yaml)"
        )
    validation = sample(labels, val_size, seed, spare=True)
    train = np.setdiff1d(np.arange(len(labels)), validation)
    if train_limit is not None and train_limit < len(train):
        train = train[sample(labels[train], train_limit, seed)]
    return train, validation
