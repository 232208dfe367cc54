"""The rates and the profile that benchmarks/gpu.py asks for, a question in a process of its own.

`python -m benchmarks.gpu_measures QUESTION ANSWERS [--dry]` adds each answer to the file at once.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.gpu_answers import Answers, Values
from benchmarks.gpu_profile import step_profiles
from benchmarks.gpu_steps import DRY, FULL, Measures, Size, compiled_again, step_rates
from benchmarks.parts import loader_rate, network_rates
from benchmarks.setting import benchmark_params, sample, settings_of, waiting
from benchmarks.training import GFLOP_AN_IMAGE, OURS, Round, rounds_of

BEST_PUBLIC = "best public loop"


def trainings(size: Size) -> Measures:
    """Ours beside the others', loader and augmentation included, in turn; an answer a round."""
    rounds = training_rounds(size)
    return [(f"round {number + 1}", partial(compared, rounds)) for number in range(size.rounds)]


def training_rounds(size: Size) -> Iterator[Round]:
    settings = settings_of(benchmark_params(epochs=10_000))
    data, wait = sample(size.compared), waiting(settings.device)
    yield from rounds_of(data, settings, wait, size.trained, 2 * size.steps)


def compared(rounds: Iterator[Round]) -> Values:
    """The next round, and how many times the best rival's rate ours is."""
    rates, peak, memory = next(rounds)
    rival = BEST_PUBLIC if BEST_PUBLIC in rates else "usual script"
    ours = {name: rate for name, rate in rates.items() if name.startswith(OURS)}
    return {
        "images_per_second": rates,
        f"times the {rival}": {name: rate / rates[rival] for name, rate in ours.items()},
        "peak_gflops": peak,
        "share_of_peak": rates[OURS] * GFLOP_AN_IMAGE / peak,
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
    "3 training": trainings,
    "4 profile": step_profiles,
    "4 step": step_rates,
    "4 warm": compiled_again,
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
