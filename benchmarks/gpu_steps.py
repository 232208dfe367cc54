"""A training step without a loader, run in several ways, for benchmarks/gpu.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch._inductor.config

from benchmarks.gpu_answers import NEEDS_GPU, Values
from benchmarks.setting import (
    benchmark_params,
    changed,
    new_run,
    rate,
    sample,
    settings_of,
    waiting,
)
from src.training.run import Run

Measures = list[tuple[str, Callable[[], Values]]]


@dataclass(frozen=True)
class Size:
    """How much is measured. pixels: the side; trained, batches: batch sizes; backend: of compile.

    compared: images of the data set on which whole trainings run; images: of every other.
    """

    pixels: int
    compared: int
    images: int
    trained: tuple[int, ...]
    batches: tuple[int, ...]
    workers: tuple[int, ...]
    rounds: int
    steps: int
    backend: str


FULL = Size(32, 50_000, 50_000, (128, 256, 512), (256, 512, 128, 1024), (4, 8, 15), 3, 100,
            "inductor")  # fmt: skip
# Dynamo's "eager" traces the network and compiles nothing.
DRY = Size(16, 16, 128, (8,), (8,), (1, 2), 1, 2, "eager")


@dataclass(frozen=True)
class Kind:
    """A way to run a step."""

    recorded: bool = True
    compiled: bool = False
    deterministic: bool = True


LAUNCHED, GRAPH, FREE = Kind(recorded=False), Kind(), Kind(deterministic=False)
COMPILED, BOTH = Kind(compiled=True), Kind(compiled=True, deterministic=False)


def step_run(kind: Kind, batch: int, size: Size) -> Run:
    """A run whose steps are of that kind; all of its steps see the same images."""
    train = {"batch_size": batch, "resolution": [size.pixels], "deterministic": kind.deterministic}
    params = changed(benchmark_params(epochs=10_000), train=train)
    run = new_run(sample(batch), settings_of(params))
    if not kind.recorded:
        run.device_step = run.compute
    if kind.compiled:
        # What a stage sets for itself in src/device.py does not reach the compiler.
        torch._inductor.config.deterministic = kind.deterministic
        # Networks share their code: after eight of them Dynamo would compile no more.
        torch._dynamo.reset()
        run.model.compile(backend=size.backend)
    return run


def bare_steps(run: Run) -> Iterator[None]:
    """Steps without a loader: the batch is on the device already."""
    split, device = run.data.train, run.settings.device
    images = torch.from_numpy(split.images).to(device)
    labels = torch.from_numpy(split.labels).to(device)
    while True:
        run.train_step(images, labels)
        yield


def step_rate(kind: Kind, batch: int, size: Size) -> Values:
    """Images a second, and the seconds of a first step, which compiles and records."""
    run = step_run(kind, batch, size)
    wait, steps = waiting(run.settings.device), bare_steps(run)
    first = batch / rate(steps, 1, batch, wait)
    rate(steps, size.steps // 10 + 1, batch, wait)
    values = {"images_per_second": rate(steps, size.steps, batch, wait), "first_step": first}
    return values | without_graph(kind, run)


def without_graph(kind: Kind, run: Run) -> Values:
    cuda = run.settings.device.type == "cuda"
    return {"note": f"{NEEDS_GPU}; launched here"} if kind.recorded and not cuda else {}


KINDS = {
    "graph": GRAPH,
    "graph, not deterministic": FREE,
    "graph, compiled": COMPILED,
    "graph, compiled, not deterministic": BOTH,
}


def step_rates(size: Size) -> Measures:
    """Each kind at the batch size that matters most, then at the next: time may run out."""
    return [
        (f"{name}, batch {batch}", partial(step_rate, kind, batch, size))
        for batch in size.batches
        for name, kind in KINDS.items()
    ]


def compiled_again(size: Size) -> Measures:
    """In a process of its own, with what the compiler of the one before left on the disk."""
    first = size.batches[0]
    return [(f"graph, compiled, batch {first}", partial(step_rate, COMPILED, first, size))]
