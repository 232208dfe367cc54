"""What leaves the loader: keyed, in order, the same from any worker."""

import itertools
import os
import signal
import time
import tracemalloc
from multiprocessing import active_children, get_context
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.data.augment import Augment, draw_examples
from src.data.batches import (
    Augmented,
    BatchKeys,
    Normalize,
    augmented_batches,
    cores,
    start_worker,
    to_device,
    worker_count,
)
from src.data.records import Split
from src.pipeline.errors import InputError
from src.pipeline.stop import StopRequest
from src.sources.shapes import draw

CPU = torch.device("cpu")
PIPELINE: list[dict[str, Any]] = [
    {"PadIfNeeded": {"min_height": 36, "min_width": 36, "border_mode": 4, "p": 1.0}},
    {"RandomCrop": {"height": 32, "width": 32, "p": 1.0}},
    {"HorizontalFlip": {"p": 0.5}},
    {
        "CoarseDropout": {
            "num_holes_range": [4, 4],
            "hole_height_range": [8, 8],
            "hole_width_range": [8, 8],
            "fill": [125, 123, 114],
            "p": 0.5,
        }
    },
]


@pytest.fixture(scope="module")
def split() -> Split:
    images, labels, _ = draw(50, 0)
    return Split(images, labels)


def loader(
    split: Split, workers: int, method: str = "", first: int = 0, last: int = 9
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    keys = BatchKeys(len(split), 16, 5, first, last)
    return augmented_batches(Augmented(split, Augment(PIPELINE, 5)), keys, workers, CPU, method)


def batches(
    split: Split, workers: int, method: str = "", first: int = 0, last: int = 9
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(loader(split, workers, method, first, last))


def same(one: list[Any], other: list[Any]) -> bool:
    assert len(one) == len(other) > 0
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y))  # noqa: B905


# Four are asked for on purpose, also where there are fewer cores.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("workers", "method"),
    [
        (1, "fork"),
        (2, "fork"),
        pytest.param(4, "fork", marks=pytest.mark.slow),
        pytest.param(2, "spawn", marks=pytest.mark.slow),
    ],
)
def test_workers_do_not_matter(split: Split, workers: int, method: str) -> None:
    assert same(batches(split, 0), batches(split, workers, method))


def test_ctrl_c_leaves_the_workers_at_work(split: Split) -> None:
    """It reaches the whole group, and the trainer still wants the batches of its last step."""
    loaded = iter(loader(split, 1, last=30))
    received = [next(loaded)]
    (worker,) = active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGINT)
    received += loaded
    assert same(received, batches(split, 0, last=30))


def test_what_ends_the_group_leaves_the_workers_to_the_trainer(split: Split) -> None:
    """`timeout` and schedulers signal all processes of a group; a lost worker is an error."""
    loaded = iter(loader(split, 1, last=3))
    next(loaded)
    (worker,) = active_children()
    assert worker.pid is not None
    assert os.getpgid(worker.pid) == worker.pid != os.getpgrp()
    assert len(list(loaded)) == 2


def test_a_worker_can_be_ended_while_training_handles_signals() -> None:
    """It must not inherit the trainer's handler, which only notes the wish."""
    context = get_context("fork")
    started = context.Event()

    def work() -> None:
        start_worker(0)
        started.set()
        time.sleep(30)

    with StopRequest():
        worker = context.Process(target=work)
        worker.start()
        assert started.wait(30)
        worker.terminate()
        worker.join()
    assert worker.exitcode == -signal.SIGTERM


def test_batches_are_uint8_and_whole(split: Split) -> None:
    loaded = batches(split, 0)
    assert len(loaded) == 9
    for images, labels in loaded:
        assert images.shape == (16, 32, 32, 3)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64


def test_a_later_start_sees_the_same_batches(split: Split) -> None:
    assert same(batches(split, 0)[4:], batches(split, 0, first=4))


def test_epochs_differ_and_visit_each_image_at_most_once(split: Split) -> None:
    keys = list(BatchKeys(len(split), 16, 5, 0, 6))
    first, second = itertools.chain(*keys[:3]), itertools.chain(*keys[3:])
    orders = [[index for _, index in epoch] for epoch in (first, second)]
    assert orders[0] != orders[1]
    assert all(len(set(order)) == 48 for order in orders)
    augment = Augment(PIPELINE, 5)
    draws = [augment(split.images[0], epoch, 0).tobytes() for epoch in range(6)]
    assert len(set(draws)) == 6


def test_seeds_and_images_have_draws_of_their_own(split: Split) -> None:
    image = split.images[0]
    one, other = Augment(PIPELINE, 5), Augment(PIPELINE, 6)
    assert len({augment(image, 0, i).tobytes() for augment in (one, other) for i in range(8)}) > 12
    assert one(image, 3, 7).tobytes() == one(image, 3, 7).tobytes()


def test_flip_and_crop_are_uncorrelated() -> None:
    """Over 2,000 draws: Albumentations' own seeding gives both the same stream."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None], (32, 32, 3)).copy()
    rows = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None], (32, 32, 3))
    ramp[:, :, 1] = rows[:, :, 1]
    augment = Augment(PIPELINE[:3], 0)
    draws = [augment(ramp, 0, index) for index in range(2000)]
    flips = np.array([float(draw[16, 10, 0]) > float(draw[16, 20, 0]) for draw in draws])
    shifts = np.array([float(draw[16, 16, 1]) for draw in draws])
    assert 0.45 < flips.mean() < 0.55
    assert len(set(shifts)) == 5
    # The standard error of a correlation of independent draws is 1/sqrt(2000) = 0.022.
    assert abs(np.corrcoef(flips, shifts)[0, 1]) < 0.09
    epochs = [augment(ramp, epoch, 0) for epoch in range(200)]
    assert len({draw.tobytes() for draw in epochs}) > 30


def test_too_few_images_for_a_batch(split: Split) -> None:
    with pytest.raises(InputError, match=r"train\.batch_size: 64 is more than the 50"):
        BatchKeys(len(split), 64, 0, 0, 1)


def test_normalize_gives_zero_mean_and_unit_deviation(split: Split) -> None:
    pixels = split.images.reshape(-1, 3) / 255
    normalize = Normalize(pixels.mean(0).tolist(), pixels.std(0).tolist(), CPU)
    result = normalize(torch.from_numpy(split.images))
    assert result.shape == (50, 3, 32, 32)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(result.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(result.std((0, 2, 3)), torch.ones(3), atol=1e-3)


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        ({"HorizontalFlop": {"p": 0.5}}, r"augment\.HorizontalFlop: is not a transform"),
        ({"Compose": {"p": 0.5}}, r"augment\.Compose: is not a transform"),
        ({"HorizontalFlip": {"q": 1, "p": 0.5}}, r"augment\.HorizontalFlip: .*'q'"),
        (
            {"HorizontalFlip": {"p": 2.0}},
            r"augment\.HorizontalFlip: p: 2\.0: .*than or equal to 1 \(",
        ),
        ({"RandomCrop": {"height": "a", "p": 1.0}}, r"height: 'a': .*integer.*; width: Field req"),
        ({"CoarseDropout": {"fill": "pink", "p": 1.0}}, "fill: 'pink': .*tuple or .*number.* or "),
        ({"RandomCrop": {"height": 64, "width": 64, "p": 1.0}}, "augment: fails on an image"),
        ({"RandomCrop": {"height": 16, "width": 16, "p": 1.0}}, r"must return 32×32×3.*16×16×3"),
        ({"ToFloat": {"p": 1.0}}, "must return 32×32×3 uint8, not 32×32×3 float32"),
        ({"ToGray": {"p": 1.0, "num_output_channels": 1}}, "must return 32×32×3 uint8"),
    ],
)
def test_a_bad_pipeline_is_refused_by_name(transform: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Augment([transform], 0)


def test_a_transform_that_is_seldom_applied_is_refused_too() -> None:
    """By the check before training, not hours later by chance."""
    with pytest.raises(InputError, match="must return 32×32×3 uint8"):
        Augment([{"ToFloat": {"p": 1e-6}}], 0)
    Augment([{"ToFloat": {"p": 0.0}}], 0)


def test_each_image_is_checked(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Augment, "check_output", lambda _: None)
    augment = Augment([{"RandomCrop": {"height": 16, "width": 16, "p": 0.5}}], 0)
    with pytest.raises(InputError, match=r"must return 32×32×3 uint8, not 16×16×3 uint8"):
        Augmented(split, augment).__getitems__([(0, index) for index in range(20)])


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_only_cuda_copies_while_the_host_goes_on(device: str) -> None:
    """On mps the host's memory could be freed before it was read."""
    batch = MagicMock()
    to_device(batch, torch.device(device))
    batch.to.assert_called_once_with(torch.device(device), non_blocking=device == "cuda")


def test_an_empty_pipeline_leaves_images_alone(split: Split) -> None:
    assert (Augment([], 0)(split.images[0], 0, 0) == split.images[0]).all()


def test_examples_show_what_training_sees(split: Split) -> None:
    originals, draws, labels = draw_examples(split, PIPELINE, 5)
    assert originals.shape == (6, 32, 32, 3)
    assert draws.shape == (6, 8, 32, 32, 3)
    assert labels == list(range(6))
    index = int(np.flatnonzero(split.labels == 2)[0])
    assert (draws[2, 3] == Augment(PIPELINE, 5)(split.images[index], 3, index)).all()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has it")
def test_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)


@pytest.mark.parametrize("text", ["two", "-1", "1.5", ""])
def test_workers_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", text)
    with pytest.raises(InputError, match="WORKERS"):
        worker_count(CPU)


@pytest.mark.parametrize(
    ("device", "cores", "workers"),
    [("cpu", 64, 0), ("cuda", 1, 1), ("cuda", 8, 7), ("cuda", 64, 16), ("mps", 8, 7)],
)
def test_workers_suit_the_device(
    device: str, cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.data.batches.cores", lambda: cores)
    assert worker_count(torch.device(device)) == workers


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_does_not_grow_with_epochs(split: Split, workers: int) -> None:
    """Of this process, over 60 epochs after 5 to warm up."""
    loaded = loader(split, workers, last=3 * 65)
    tracemalloc.start()
    try:
        for step, _ in enumerate(loaded):
            if step == 3 * 5:
                before = tracemalloc.get_traced_memory()[0]
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 16 * 32 * 32 * 3 * 8
