"""The rates and the profile that benchmarks/gpu.py asks for, a question in a process of its own.

`python -m benchmarks.gpu_measures QUESTION ANSWERS [--dry]` adds each answer to the file at once.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.gpu_answers import Answers, Values
from benchmarks.gpu_profile import step_profiles
from benchmarks.gpu_steps import DRY, FULL, Measures, Size, step_rates
from benchmarks.parts import loader_rate, network_rates
from benchmarks.setting import benchmark_params, sample, settings_of, waiting
from benchmarks.training import GFLOP_AN_IMAGE, OURS, training_rates

BEST_PUBLIC = "best public loop"


def trainings(size: Size) -> Values:
    """Ours beside the others', loader and augmentation included, in turn."""
    settings = settings_of(benchmark_params(epochs=10_000))
    data, wait = sample(size.compared), waiting(settings.device)
    steps = 2 * size.steps
    rates, peaks, memory = training_rates(data, settings, wait, size.trained, steps, size.rounds)
    rivals = rates.get(BEST_PUBLIC) or rates["usual script"]
    times = {
        name: statistics.median(a / b for a, b in zip(values, rivals, strict=True))
        for name, values in rates.items() if name.startswith(OURS)
    }  # fmt: skip
    peak = statistics.median(peaks)
    return {
        "images_per_second": {name: statistics.median(values) for name, values in rates.items()},
        f"times the {BEST_PUBLIC if BEST_PUBLIC in rates else 'usual script'}": times,
        "peak_gflops": peak,
        "share_of_peak": statistics.median(rates[OURS]) * GFLOP_AN_IMAGE / peak,
        "memory_mb": memory,
    }


def loader_alone(workers: int, size: Size) -> Values:
    settings = settings_of(benchmark_params(1))
    wait = waiting(settings.device)
    return {"images_per_second": loader_rate(sample(size.images), settings, workers, wait)}


def networks(size: Size) -> Values:
    settings = settings_of(benchmark_params(1))
    return {**network_rates(sample(size.images), settings, waiting(settings.device))}


MEASURES: dict[str, Callable[[Size], Measures]] = {
    "3 training": lambda size: [("in turn", partial(trainings, size))],
    "4 profile": step_profiles,
    "4 step": step_rates,
    "4 loader": lambda size: [
        (f"{workers} processes", partial(loader_alone, workers, size)) for workers in size.workers
    ],
    "6 rates": lambda size: [("images a second", partial(networks, size))],
}


def ask(question: str, size: Size, answers: Answers) -> int:
    """Answer what has no answer yet; how many of the measurements failed."""
    failed = 0
    for name, measure in MEASURES[question](size):
        if answers.has(f"{question}: {name}"):
            continue
        began = time.perf_counter()
        try:
            values = measure()
        except Exception as error:  # the next one may do without what this one lacks
            failed += 1
            values = {"error": f"{type(error).__name__}: {error}"}
        answers.add(f"{question}: {name}", {"seconds": time.perf_counter() - began, **values})
    return failed


def main() -> None:
    question, path, *flags = sys.argv[1:]
    failed = ask(question, DRY if "--dry" in flags else FULL, Answers(Path(path)))
    sys.exit(f"{failed} measurements failed" if failed else None)


if __name__ == "__main__":
    main()
