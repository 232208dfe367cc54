"""What leaves the loader: keyed, in order, the same from any worker."""

import errno
import gc
import itertools
import os
import shutil
import signal
import sys
import time
import tracemalloc
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import albumentations
import cv2
import pytest
import torch
from albumentations import HorizontalFlip

from src.data.augment import Augment
from src.data.batches import (
    Augmented,
    Batches,
    BatchKeys,
    augmented_batches,
    start_worker,
    that_fit,
    worker_count,
)
from src.data.records import Split
from src.pipeline.errors import InputError
from src.pipeline.stop import StopRequest
from src.sources.shapes import draw
from tests.conftest import ROOT, run
from tests.tiny import PLAIN

CPU = torch.device("cpu")


class Usage(NamedTuple):
    """As shutil.disk_usage gives it."""

    total: int
    used: int
    free: int


PIPELINE: list[dict[str, Any]] = [
    *PLAIN,
    {
        "OneOf": {
            "transforms": [
                {"GaussNoise": {"p": 0.3}},
                {"SomeOf": {"transforms": [{"D4": {"p": 0.5}}, {"Blur": {"p": 0.5}}], "p": 0.7}},
            ],
            "p": 0.5,
        }
    },
]


@pytest.fixture(scope="module")
def split() -> Split:
    images, labels, _ = draw(50, 0)
    return Split(images, labels)


def loader(split: Split, workers: int, method: str = "", first: int = 0, last: int = 9) -> Batches:
    keys = BatchKeys(len(split), 16, 5, first, last)
    return augmented_batches(Augmented(split, Augment(PIPELINE, 5)), keys, workers, CPU, method)


def batches_of(
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
    assert same(batches_of(split, 0), batches_of(split, workers, method))


def test_ctrl_c_leaves_the_workers_at_work(split: Split) -> None:
    """It reaches the whole group, and the trainer still wants the batches of its last step."""
    loaded = iter(loader(split, 1, last=30))
    received = [next(loaded)]
    (worker,) = active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGINT)
    received += loaded
    assert same(received, batches_of(split, 0, last=30))


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
    loaded = batches_of(split, 0)
    assert len(loaded) == 9
    for images, labels in loaded:
        assert images.shape == (16, 32, 32, 3)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64


def test_a_later_start_sees_the_same_batches(split: Split) -> None:
    assert same(batches_of(split, 0)[4:], batches_of(split, 0, first=4))


def test_epochs_differ_and_visit_each_image_at_most_once(split: Split) -> None:
    keys = list(BatchKeys(len(split), 16, 5, 0, 6))
    first, second = itertools.chain(*keys[:3]), itertools.chain(*keys[3:])
    orders = [[index for _, index in epoch] for epoch in (first, second)]
    assert orders[0] != orders[1]
    assert all(len(set(order)) == 48 for order in orders)
    augment = Augment(PIPELINE, 5)
    draws = [augment(split.images[0], epoch, 0).tobytes() for epoch in range(6)]
    assert len(set(draws)) == 6


def test_too_few_images_for_a_batch(split: Split) -> None:
    left_out = r"data\.val_size and data\.train_limit leave out others"
    with pytest.raises(InputError, match=rf"train\.batch_size: 64 is more than the 50.*{left_out}"):
        BatchKeys(len(split), 64, 0, 0, 1)


def test_each_image_is_checked(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Augment, "check_output", lambda _: None)
    augment = Augment([{"RandomCrop": {"height": 16, "width": 16, "p": 0.5}}], 0)
    with pytest.raises(InputError, match=r"must return 32×32×3 uint8, not 16×16×3 uint8"):
        Augmented(split, augment).batch([(0, index) for index in range(20)])


class SeldomFails(HorizontalFlip):
    """As a transform whose fault shows once in thousands of images."""

    def apply(self, img: Any, **_: Any) -> Any:
        if self.py_random.random() < 0.01:
            raise ValueError("a fault\nof two lines")
        return img


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_that_shows_late_is_a_sentence(
    workers: int, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from a worker, whose errors DataLoader turns into the text of a traceback."""
    monkeypatch.setattr(Augment, "check_output", lambda _: None)
    monkeypatch.setattr(albumentations, "SeldomFails", SeldomFails, raising=False)
    augment = Augment([{"SeldomFails": {"p": 1.0}}], 0)
    keys = BatchKeys(len(split), 16, 5, 0, 60)
    batches = augmented_batches(Augmented(split, augment), keys, workers, CPU)
    received: list[tuple[torch.Tensor, torch.Tensor]] = []
    with pytest.raises(InputError) as caught:
        received.extend(batches)
    assert 0 < len(received) < 60
    assert str(caught.value) == (
        "augment.SeldomFails: fails on an image: a fault of two lines (params.yaml)"
    )


class BareKeyError(HorizontalFlip):
    def apply(self, *_: Any, **__: Any) -> Any:
        raise KeyError


def test_an_error_without_words_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(albumentations, "BareKeyError", BareKeyError, raising=False)
    said = r"^augment\.BareKeyError: fails on an image: KeyError \(params\.yaml\)$"
    with pytest.raises(InputError, match=said):
        Augment([{"BareKeyError": {"p": 1.0}}], 0)


class SeldomTooLarge(HorizontalFlip):
    """As a transform that asks for more memory than there is, once in a hundred images."""

    error: Exception = MemoryError("Unable to allocate 9 TiB")

    def apply(self, img: Any, **_: Any) -> Any:
        if self.py_random.random() < 0.01:
            raise self.error
        return img


def test_too_little_memory_beside_the_transforms_is_a_sentence(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("src.data.batches.torch.from_numpy", full)
    with pytest.raises(InputError, match=r"^augmenting a batch of 16 images; this machine has too"):
        batches_of(split, 0)


class SeldomTooLargeForOpenCV(SeldomTooLarge):
    error = cv2.error("(-4:Insufficient memory) Failed to allocate 9 bytes in OutOfMemoryError")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [SeldomTooLarge, SeldomTooLargeForOpenCV])
def test_too_little_memory_for_augmentation_is_a_sentence(
    kind: type[SeldomTooLarge], workers: int, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the transform's name, though it has worked before; also from a worker."""
    monkeypatch.setattr(Augment, "check_output", lambda _: None)
    monkeypatch.setattr(albumentations, kind.__name__, kind, raising=False)
    augment = Augment([{kind.__name__: {"p": 1.0}}], 0)
    keys = BatchKeys(len(split), 16, 5, 0, 60)
    with pytest.raises(InputError) as caught:
        list(augmented_batches(Augmented(split, augment), keys, workers, CPU))
    start, _, end = str(caught.value).partition(f": {kind.error} (params.yaml); ")
    assert start == f"augment.{kind.__name__}: fails on an image"
    fewer = ", or set fewer WORKERS (environment variable)" if workers else ""
    assert end == (f"this machine has too little memory: end other programs that use it{fewer}")


@pytest.mark.parametrize("text", ["two", "-1", "1.5", "", "²"])
def test_workers_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", text)
    with pytest.raises(InputError, match=rf"^WORKERS: '{text}' is not a whole number \("):
        worker_count(CPU)


@pytest.mark.parametrize("text", ["1025", "9" * 5000])
def test_more_workers_than_any_machine_runs_are_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", text)
    with pytest.raises(InputError, match=f"^WORKERS: {text} is more than 1,024"):
        worker_count(CPU)


@pytest.mark.parametrize(("text", "workers"), [("0", 0), ("00", 0), ("007", 7), ("1024", 1024)])
def test_the_environment_says_how_many_workers(
    text: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", text)
    assert worker_count(torch.device("cuda")) == workers


@pytest.mark.parametrize(
    ("device", "cores", "workers"),
    [("cpu", 64, 0), ("cuda", 1, 1), ("cuda", 8, 7), ("cuda", 64, 16), ("mps", 8, 7)],
)
def test_workers_suit_the_device(
    device: str, cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.share.cores", lambda: cores)
    assert worker_count(torch.device(device)) == workers


@pytest.mark.parametrize(
    ("device", "jobs", "workers"), [("cuda", 2, 7), ("cuda", 4, 3), ("cuda", 16, 1), ("cpu", 2, 0)]
)
def test_jobs_share_the_workers(
    device: str, jobs: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.share.cores", lambda: 16)
    monkeypatch.setenv("JOBS", str(jobs))
    assert worker_count(torch.device(device)) == workers
    monkeypatch.setenv("WORKERS", "5")
    assert worker_count(torch.device(device)) == 5


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
def test_processes_that_cannot_be_started_are_a_sentence(
    fault: Exception, reason: str, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a user may have few files open; the first process is there already."""
    start, calls = BaseProcess.start, itertools.count()

    def second_fails(process: BaseProcess) -> None:
        if next(calls):
            raise fault
        start(process)

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(BaseProcess, "start", second_fails)
    said = rf"^2 loader processes cannot be started \({reason}\); set fewer WORKERS"
    with pytest.raises(InputError, match=said):
        next(iter(loader(split, 2)))
    gc.collect()


# A batch of 128 images, and its labels, in whole pages.
BATCH = 128 * 32 * 32 * 3 + 4096 + 128 * 8 + 4096


@pytest.mark.parametrize(
    ("batches", "jobs", "expected"),
    [
        (66, "1", (16, 4)), (65, "1", (16, 3)), (132, "2", (16, 4)), (131, "2", (16, 3)),
        (34, "1", (16, 2)), (18, "1", (16, 1)), (17, "1", (15, 1)), (4, "1", (2, 1)),
        (3, "1", (1, 1)), (2, "1", (0, 0)), (0, "1", (0, 0)),
    ],
)  # fmt: skip
def test_only_batches_that_fit_are_prepared_ahead(
    batches: int,
    jobs: str,
    expected: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two more are in use, and semaphores; the note comes only where fewer fit than asked for."""
    monkeypatch.setenv("JOBS", jobs)
    free = Usage(0, 0, (8 + 4 * 16) * 4096 * int(jobs) + batches * BATCH)
    monkeypatch.setattr("src.data.batches.shutil.disk_usage", lambda _: free)
    assert that_fit(16, 128) == expected
    note = capsys.readouterr().out
    assert ("--shm-size" in note and "set WORKERS" in note) is (expected != (16, 4))
    assert ("no loader process" in note) is (expected[0] == 0)


def test_without_shared_memory_of_its_own_nothing_is_limited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("src.data.batches.SHARED", tmp_path / "none")
    assert that_fit(16, 128) == (16, 4)
    assert that_fit(0, 128) == (0, 0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
@pytest.mark.parametrize("batches", [5, 2])
def test_little_shared_memory_does_not_change_the_batches(
    batches: int, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches_of(split, 0)
    free = Usage(0, 0, (8 + 4 * 2) * 4096 + batches * (16 * 3080 + 2 * 4096))
    monkeypatch.setattr("src.data.batches.shutil.disk_usage", lambda _: free)
    loaded = loader(split, 2)
    assert (loaded.num_workers, loaded.prefetch_factor) == {5: (2, 1), 2: (0, None)}[batches]
    assert same(list(loaded), expected)


MOUNT = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=292k tmpfs /dev/shm && exec "$@"')


def test_a_small_shared_memory_is_enough() -> None:
    """With a real one, for four of these batches of 52 kB, and semaphores; all four are there."""
    if not shutil.which("unshare") or run(ROOT, *MOUNT, "sh", "true", check=False).returncode:
        pytest.skip("needs the right to mount a small /dev/shm")
    program = """
import time
from tests.data.test_batches import batches_of, draw, loader, same, Split
images, labels, _ = draw(50, 0)
split = Split(images, labels)
seen, before = [], None
for batch in loader(split, 2, last=30):
    seen.append([tensor.clone() for tensor in batch])
    time.sleep(0.1)  # while this one and the one before are in use, two more are made
    before = batch
assert same(seen, batches_of(split, 0, last=30))
"""
    command = ("timeout", "600", sys.executable, "-W", "ignore", "-c", program)
    output = run(ROOT, *MOUNT, "sh", *command).stdout
    assert "enough for 2 loader processes (prefetch 1), not for 2 (prefetch 4); give" in output


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_does_not_grow_with_epochs(split: Split, workers: int) -> None:
    """Of this process, over 60 epochs after 5 to warm up; batches in shared memory are counted."""
    loaded = loader(split, workers, last=3 * 65)
    tracemalloc.start()
    try:
        for step, _ in enumerate(loaded):
            if step == 3 * 5:
                before, tensors = tracemalloc.get_traced_memory()[0], tensors_alive()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 16 * 32 * 32 * 3 * 8
    assert tensors_alive() - tensors < 10


def tensors_alive() -> int:
    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())
