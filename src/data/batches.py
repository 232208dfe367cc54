"""uint8 batches, in order, from worker processes to the device.

A batch sampler yields lists of (epoch, index) and the data set makes a whole batch a call
(`__getitems__`), so workers need no message when an epoch begins, and a run that resumes at
step n sees exactly the batches that it would have seen.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator, Philox
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from src.data.augment import Augment
from src.data.records import SIDE, Split
from src.pipeline.errors import InputError
from src.share import jobs, own_cores, whole_number

Key = tuple[int, int]
# Where workers put their batches for this process to read, on Linux.
SHARED = Path("/dev/shm")
PAGE = 4096
# Batches that each worker prepares ahead.
PREFETCH = 4
# Batches that this process has taken from a worker and still holds.
IN_USE = 2
# A loader's semaphores lie in shared memory too, each on a page of its own: at most this many pages
# and this many for each worker, measured with torch 2.11.
SEMAPHORES, SEMAPHORES_EACH = 8, 4


def worker_count(device: torch.device) -> int:
    """Loader processes: the environment's WORKERS, else what suits the device."""
    if (asked := whole_number("WORKERS", least=0)) is not None:
        return asked
    # On a CPU the step itself wants every core; the loader takes about 1% of it.
    return 0 if device.type == "cpu" else min(16, max(1, own_cores() - 1))


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Batches of augmented images by their (epoch, index) keys."""

    def __init__(self, split: Split, augment: Augment) -> None:
        self.split = split
        self.augment = augment

    def __getitems__(self, keys: list[Key]) -> tuple[Tensor, Tensor] | InputError:
        """What DataLoader asks for: the batch, or why there is none.

        An error that a worker raised would reach the trainer as the text of a traceback.
        """
        try:
            return self.batch(keys)
        except InputError as error:
            return error
        except MemoryError as error:
            what = str(error) or f"augmenting a batch of {len(keys)} images"
            fewer = ", or set fewer WORKERS (environment variable)" if get_worker_info() else ""
            return InputError(
                f"{what}; this machine has too little memory: end other programs that use it{fewer}"
            )

    def batch(self, keys: list[Key]) -> tuple[Tensor, Tensor]:
        """(B, 32, 32, 3) uint8 images and (B,) int64 labels; InputError as Augment raises it."""
        images = [self.augment(self.split.images[index], epoch, index) for epoch, index in keys]
        labels = self.split.labels[[index for _, index in keys]]
        return torch.from_numpy(np.stack(images)), torch.from_numpy(labels)


def check_batch_size(batch_size: int, images: int) -> None:
    """InputError where the training images do not fill a batch."""
    if images < batch_size:
        raise InputError(
            f"train.batch_size: {batch_size} is more than the {images} images that are "
            "trained on (params.yaml; data.val_size and data.train_limit leave out others)"
        )


class BatchKeys(Sampler[list[Key]]):
    """The keys of each batch from `first_step` to `last_step`, reshuffled each epoch.

    The images that do not fill a batch are left out of that epoch.
    """

    def __init__(self, images: int, batch_size: int, seed: int, first_step: int, last_step: int):
        check_batch_size(batch_size, images)
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.steps = range(first_step, last_step)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = self.images // self.batch_size
        order, order_epoch = self.epoch_order(0), 0
        for step in self.steps:
            epoch, batch = divmod(step, per_epoch)
            if epoch != order_epoch:
                order, order_epoch = self.epoch_order(epoch), epoch
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(epoch, int(index)) for index in chosen]

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        # Keys of images are below 2**63 (augment.py): the two never share a stream.
        # uint64: a list with a number this large would become floating point.
        key = np.array([self.seed, 2**63 + epoch], np.uint64)
        return Generator(Philox(key=key)).permutation(self.images)


def start_worker(_: int) -> None:
    # Ctrl-C, timeout and schedulers signal the whole group, and the trainer wants its current
    # batch all the same. It ends its workers itself, and they end where it has died.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def that_fit(workers: int, batch_size: int) -> tuple[int, int]:
    """Workers, and batches that each prepares ahead, for which shared memory has room.

    A container has little of it: 64 MB under Docker. Prints a note where they are fewer.
    """
    if workers == 0 or not SHARED.is_dir():
        return workers, PREFETCH if workers else 0
    free = shutil.disk_usage(SHARED).free // (jobs() or 1)
    for_batches = free - (SEMAPHORES + SEMAPHORES_EACH * workers) * PAGE
    # Images and labels lie in pages of their own.
    room = max(0, for_batches // (batch_size * (SIDE * SIDE * 3 + 8) + 2 * PAGE) - IN_USE)
    fewer = min(workers, room)
    prefetch = min(PREFETCH, room // fewer) if fewer else 0
    if (fewer, prefetch) != (workers, PREFETCH):
        those = f"{fewer} loader processes (prefetch {prefetch})" if fewer else "no loader process"
        print(
            f"note: the {free / 2**20:.1f} MB free in {SHARED} are enough for {those}, "
            f"not for {workers} (prefetch {PREFETCH}); give a container more with --shm-size, or "
            "set WORKERS"
        )
    return fewer, prefetch


class Batches(DataLoader[tuple[Tensor, Tensor]]):
    """A loader that raises the InputError that it was given in place of a batch."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        try:
            batches = super().__iter__()
        except (OSError, RuntimeError) as error:
            # Each takes files, memory and threads, of which a user may have a limited number.
            if isinstance(error, RuntimeError) and "can't start new thread" not in str(error):
                raise
            # torch's iterator, half made, would complain of that on stderr as it goes.
            sys.unraisablehook = lambda _: None
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{self.num_workers} loader processes cannot be started ({reason}); set fewer "
                "WORKERS (environment variable)"
            ) from error
        for batch in batches:
            if isinstance(batch, InputError):
                raise batch
            yield batch


def augmented_batches(
    data: Augmented, keys: BatchKeys, workers: int, device: torch.device, start_method: str = ""
) -> Batches:
    """A loader of the batches that `keys` names, the same for any number of workers."""
    workers, prefetch = that_fit(workers, keys.batch_size)
    return Batches(
        data,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=identity,
        pin_memory=device.type == "cuda",
        worker_init_fn=start_worker,
        multiprocessing_context=(start_method or None) if workers else None,
        prefetch_factor=prefetch or None,
        # Without a generator the loader would draw a seed from torch's global one.
        generator=torch.Generator(),
    )


def identity(batch: Any) -> Any:
    return batch
