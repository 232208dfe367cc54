"""How many images a second does training reach here, and how many does the usual script reach?

The loops run in turn. Each other loop has a process of its own, as its users run it. The built-in
sample serves as data, so nothing needs to be downloaded; speed does not depend on what the images
show. On a CPU read the ratios: machines are noisy, and loops that run in turn share the noise.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.parts import loader_rate, network_rates
from benchmarks.setting import (
    BATCH,
    Wait,
    benchmark_params,
    new_run,
    rate,
    sample,
    settings_of,
    waiting,
)
from benchmarks.usual import best_public_steps, usual_steps
from src.data.batches import PREFETCH
from src.data.dataset import TrainingData
from src.device import DTYPES, pick_device, set_threads
from src.network.conv import Conv2d
from src.network.resnet import build_model
from src.pipeline.files import write_json
from src.training.settings import Settings

# 0.555 G multiply-adds forward, times two operations, times three for training. This counts
# convolutions as they are defined; Winograd's algorithm needs fewer operations.
GFLOP_AN_IMAGE = 3.33
ROUNDS = 3
OURS = "this project"
OTHERS = {"usual script": (usual_steps, BATCH), "best public loop": (best_public_steps, 500)}

Rate = Callable[[int], float]  # images a second over a number of steps


def our_steps(data: TrainingData, settings: Settings) -> Iterator[None]:
    """Steps of the real training run: loader, augmentation, update."""
    run = new_run(data, settings)
    for images, labels in run.batches():
        run.train_step(images, labels)
        yield


def matmul_peak(device: torch.device, precision: str, wait: Wait) -> float:
    """The best rate of square matrix products of several sizes, in GFLOP/s."""
    sides = (8192,) if device.type == "cuda" else (512, 1024, 2048)
    best = 0.0
    for side in sides:
        a = torch.randn(side, side, device=device, dtype=DTYPES[precision])
        # Each size gets the same amount of work.
        times = 5 * (sides[-1] // side) ** 3
        for _ in range(4):
            wait()
            began = time.perf_counter()
            for _ in range(times):
                _ = a @ a
            wait()
            best = max(best, times * 2 * side**3 / (time.perf_counter() - began) / 1e9)
    return best


def torch_model() -> nn.Module:
    """The network with torch's own convolutions, as other projects have it."""
    model = build_model("resnet18", 10)
    for module in model.modules():
        if isinstance(module, Conv2d):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    return model


def serve(connection: Connection, name: str, images: int) -> None:
    """Run in another process: take a number of steps, send a loop's rate over them; 0 ends it."""
    # Else this spawned process would spawn its loader's workers too, which takes seconds an epoch.
    set_start_method(None, force=True)
    set_threads()
    device, data = pick_device(), sample(images)
    loop, batch_size = OTHERS[name]
    batch_size = min(batch_size, images)
    steps = loop(torch_model(), data.train, batch_size, device)
    with suppress(EOFError):
        while count := connection.recv():
            connection.send(rate(steps, count, batch_size, waiting(device)))


@contextmanager
def elsewhere(name: str, images: int) -> Iterator[Rate]:
    """Run another loop in a process of its own, which none of our settings reach.

    Those of the C library do not reach it either. The process waits until it is asked for a rate.
    """
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, name, images))
    process.start()
    there.close()

    def measured(steps: int) -> float:
        here.send(steps)
        result: float = here.recv()
        return result

    try:
        measured(1)  # the process finishes its start-up before anything is measured
        yield measured
    finally:
        # A loader process that was forked meanwhile has this end too, so closing it tells nothing.
        with suppress(BrokenPipeError):
            here.send(0)
        process.join()
        here.close()


def our_rate(data: TrainingData, settings: Settings, batch_size: int, wait: Wait) -> Rate:
    """The rate of this project's loop at a batch size."""
    train = settings.train.model_copy(update={"batch_size": batch_size})
    steps = our_steps(data, replace(settings, train=train))
    return partial(rate, steps, images=batch_size, wait=wait)


def steps_a_rate(settings: Settings) -> int:
    """The steps over which a rate is taken: few on a CPU, where a step in fp32 takes seconds."""
    if settings.device.type == "cuda":
        return 200
    return 4 if settings.precision == "bf16" else 2


class Round(NamedTuple):
    """Images a second of each loop, the machine's peak, this project's peak memory in MB.

    The memory is that of this project's training at the first batch size alone.
    """

    rates: dict[str, float]
    peak: float
    memory_mb: float


def rounds_of(
    data: TrainingData,
    settings: Settings,
    wait: Wait,
    batch_sizes: tuple[int, ...] = (BATCH,),
    steps: int | None = None,
) -> Generator[Round, None, None]:
    """Rounds without an end; in each the loops run in turn, and so share the machine's noise.

    batch_sizes: of this project's loop.
    """
    steps = steps or steps_a_rate(settings)
    names = list(OTHERS) if settings.device.type == "cuda" else ["usual script"]
    # Our workers make batches while other loops run, which would flatter the rate of ours. To take
    # these first is enough where the loader keeps up with the step: see the loader's own rate.
    waiting = settings.workers * PREFETCH
    running: dict[str, Rate] = {
        f"{OURS}, batch {size}" if place else OURS: our_rate(data, settings, size, wait)
        for place, size in enumerate(batch_sizes)
    }
    memory = 0.0
    with ExitStack() as others:
        running |= {name: others.enter_context(elsewhere(name, len(data.train))) for name in names}
        while True:
            peak = matmul_peak(settings.device, settings.precision, wait)
            rates = {}
            for name, loop in running.items():
                loop(1 + waiting if name.startswith(OURS) else 1)
                rates[name] = loop(steps)
                memory = memory or peak_memory_mb(settings.device)
            yield Round(rates, peak, memory)


def peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    settings = settings_of(benchmark_params(epochs=10_000))
    device, precision = settings.device, settings.precision
    wait = waiting(device)
    # A GPU gets as many images as CIFAR-10 has. A CPU gets so many that no loop ends an epoch,
    # and starts its workers anew, during the few steps that are measured.
    data = sample(50_000 if device.type == "cuda" else 3_000)
    with closing(rounds_of(data, settings, wait)) as endless:
        rounds = list(islice(endless, ROUNDS))
    rates = {name: [each.rates[name] for each in rounds] for name in rounds[0].rates}
    peaks, memory = [each.peak for each in rounds], rounds[0].memory_mb
    ours = rates[OURS]
    ratios = {
        name: statistics.median(a / b for a, b in zip(ours, values, strict=True))
        for name, values in rates.items()
    }
    rows = [f"{'training, 32 px':<32}{'images/s':>10}{'s an epoch':>12}{'ours is':>10}"]
    for name, values in rates.items():
        value = statistics.median(values)
        rows.append(f"{name:<32}{value:>10,.0f}{50_000 / value:>12,.1f}{ratios[name]:>9.2f}×")
    peak = statistics.median(peaks)
    share = statistics.median(a * GFLOP_AN_IMAGE / b for a, b in zip(ours, peaks, strict=True))
    rows.append(
        f"matrix-multiply peak {peak:,.0f} GFLOP/s in {precision}; "
        f"training, at {GFLOP_AN_IMAGE} GFLOP an image, reaches {share:.0%} of it"
    )
    rows.append(f"peak memory {memory:,.0f} MB; {settings.workers} loader workers")
    others = {
        f"loader alone, {workers or 'no'} workers": loader_rate(data, settings, workers, wait)
        for workers in sorted({0, settings.workers})
    } | network_rates(data, settings, wait)
    rows += [f"{name:<32}{value:>10,.0f}" for name, value in others.items()]
    print("\n".join(rows))
    results = {"rates": rates, "ratios": ratios, "peak_gflops": peaks, "share_of_peak": share}
    about = {"device": device.type, "precision": precision, "torch": torch.__version__}
    write_json(Path("bench/training.json"), {**results, **about, "memory_mb": memory, **others})


if __name__ == "__main__":
    main()
