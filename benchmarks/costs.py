"""Measure what the promises cost: checkpoints, keyed augmentation, Grad-CAM, start-up, repro."""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.setting import BATCH, benchmark_params, new_run, sample, settings_of
from benchmarks.startup import imports_of
from src.data.augment import Augment
from src.device import autocast, resolve_precision
from src.explanation.gradcam import grad_cam
from src.network.resnet import build_model
from src.pipeline.files import write_json
from src.training.checkpoint import Checkpoint

STAGES = ("download", "lr_find", "train", "evaluate", "gradcam")


def median_seconds(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def checkpoint_seconds() -> float:
    """Seconds to write the whole state of a ResNet-18 run and flush it to the disk."""
    run = new_run(sample(2 * BATCH), settings_of(benchmark_params(1)))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), {"run": "benchmark"}, 60)
        return median_seconds(lambda: checkpoint.save(run.state()), 5)


def augmentation_microseconds() -> dict[str, float]:
    """Microseconds to augment an image as the quick recipe does, with and without keys, in turn."""
    images = sample(500).train.images
    augment = Augment(benchmark_params(1).augment, 0)
    augment.pipeline.set_random_state(np.random.default_rng(0), random.Random(0))
    taken: dict[str, list[float]] = {"keyed": [], "unkeyed": []}
    for _ in range(3):
        unkeyed = median_seconds(lambda: [augment.pipeline(image=i) for i in images], 1)
        keyed = median_seconds(lambda: [augment(i, 0, n) for n, i in enumerate(images)], 1)
        taken["unkeyed"].append(unkeyed / len(images) * 1e6)
        taken["keyed"].append(keyed / len(images) * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def passes(model: torch.nn.Module, layer: str, images: torch.Tensor, precision: str) -> None:
    """One forward pass, and one backward pass down to the layer."""
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *a: kept.append(a[2]))
    with handle, autocast(precision, images.device):
        score = model(images)[:, 0].sum()
    torch.autograd.grad(score, kept)


def gradcam_ratios(rounds: int = 5, batch: int = 100) -> dict[str, float]:
    """Grad-CAM's time over that of its passes, for each layer: median of ratios, run in turn."""
    cpu = torch.device("cpu")
    precision = resolve_precision("auto", cpu)
    model = build_model("resnet18", 10).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    targets = torch.zeros(batch, dtype=torch.int64)
    ratios: dict[str, list[float]] = {f"layer{n}": [] for n in range(1, 5)}
    for turn in range(rounds + 1):
        for layer, found in ratios.items():
            bare = median_seconds(partial(passes, model, layer, images, precision), 1)
            explain = partial(grad_cam, model, [layer], images, targets, precision)
            ours = median_seconds(explain, 1)
            if turn:  # the first round warms up
                found.append(ours / bare)
    return {layer: statistics.median(found) for layer, found in ratios.items()}


def startup_seconds(stage: str) -> float:
    """Seconds in which a new process imports all that a stage imports, with the files in memory."""
    command = [sys.executable, "-c", f"import stages.{stage}, {', '.join(imports_of(stage))}"]
    subprocess.run(command, check=True)
    return median_seconds(lambda: subprocess.run(command, check=True), 1)


def cached_repro_seconds() -> float | None:
    """Seconds of `dvc repro` in demo/ when nothing has changed; None if it would run a stage."""
    status = [sys.executable, "-m", "dvc", "status", "--quiet"]
    if subprocess.run(status, cwd="demo", check=False).returncode:
        return None
    command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    return median_seconds(lambda: subprocess.run(command, cwd="demo", check=True), 3)


def main() -> None:
    state = checkpoint_seconds()
    augmentation = augmentation_microseconds()
    gradcam = gradcam_ratios()
    startup = {stage: startup_seconds(stage) for stage in STAGES}
    repro = cached_repro_seconds()
    print(f"checkpoint: {state:.2f} s, {state / 60:.2%} of training time at one every 60 s")
    print(
        f"augmentation: {augmentation['keyed']:.0f} µs an image, "
        f"{augmentation['unkeyed']:.0f} without keys"
    )
    print(
        "Grad-CAM over one forward and one backward pass down to the layer: "
        + ", ".join(f"{layer} {ratio:.2f}" for layer, ratio in gradcam.items())
    )
    print("start-up: " + ", ".join(f"{name} {value:.1f} s" for name, value in startup.items()))
    nothing = "run `make demo` first" if repro is None else f"{repro:.1f} s"
    print(f"dvc repro with nothing to do: {nothing}")
    values: dict[str, object] = {
        "checkpoint_s": state,
        "augmentation_us": augmentation,
        "gradcam_over_its_passes": gradcam,
        "startup_s": startup,
    }
    if repro is not None:
        values["cached_repro_s"] = repro
    write_json(Path("bench/costs.json"), values)


if __name__ == "__main__":
    main()
