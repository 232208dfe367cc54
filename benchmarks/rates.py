"""Does the range test's rate train well? Range tests over seeds, short trainings at fixed rates.

Only validation images judge the rates. The study needs data/ (`dvc repro download`) and about 40
minutes on two cores. It writes each result to bench/rates.json at once, and a second call goes on
from that file; delete the file to measure anew. The figure goes to docs/rates.png.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.setting import changed, new_run, quick_params, settings_of
from src.data.dataset import TrainingData, read_training_data
from src.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    drawn,
    log_lr_ticks,
    new_figure,
    percent,
)
from src.lr_range.range_test import range_test
from src.network.resnet import build_model
from src.pipeline.errors import InputError
from src.pipeline.files import write_json
from src.pipeline.params import Params
from src.pipeline.paths import DATA

Results = dict[str, dict[str, float]]

RESULTS = Path("bench/rates.json")
SEEDS = range(5)
IMAGES = 15_000
SIDE = 16
PEAKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
CONSTANTS = (0.002, 0.005, 0.01, 0.02, 0.05)
SCHEDULES = {"one_cycle": PEAKS, "plateau": CONSTANTS}
COLOURS = {
    "minimum": PURPLE, "valley": ORANGE, "steep": GREEN, "slide": VERMILLION, "max_lr": BLUE
}  # fmt: skip


def suggestions(params: Params, seed: int, data: TrainingData) -> dict[str, float]:
    """Suggestions and rounded bounds of one range test on all training images."""
    params = params.model_copy(update={"seed": seed})
    model = build_model(params.model.arch, len(data.classes), seed)
    found = range_test(model, data, params.lr_find, settings_of(params))
    if found.fault:
        raise InputError(found.fault)
    return found.measured | {name: found.rates[name] for name in ("base_lr", "max_lr")}


def short_training(params: Params, data: TrainingData, lr: float) -> dict[str, float]:
    """Validation loss and accuracy after one epoch; empty if training diverges."""
    run = new_run(data, settings_of(params), lr)
    try:
        for images, labels in run.batches():
            run.train_step(images, labels)
        run.check_finite()
        row = run.end_epoch(lambda: None)
    except InputError:
        return {}
    return {name: row[name] for name in ("val_loss", "val_accuracy")}


def read_results(path: Path) -> Results:
    return json.loads(path.read_text()) if path.exists() else {}


def measured(path: Path, name: str, measure: Callable[[], dict[str, float]]) -> None:
    """Measure and keep the result in `path`, unless an earlier call did; then print it."""
    results = read_results(path)
    if name not in results:
        results[name] = measure()
        write_json(path, results)
    values = "  ".join(f"{key} {value:.4g}" for key, value in results[name].items())
    print(f"{name:<40}{values or 'diverged'}", flush=True)


def build_rates(results: Results) -> Figure:
    """Draw the validation accuracy at each rate, and where each seed's suggestions lie."""
    figure = new_figure(10, 5)
    axes = figure.subplots()
    for schedule, label, style in (
        ("one_cycle", "one cycle, by its peak", "o-"),
        ("plateau", "constant rate", "s--"),
    ):
        trained = [(lr, results[f"{schedule}, {lr:g}"]) for lr in SCHEDULES[schedule]]
        points = [(lr, row["val_accuracy"]) for lr, row in trained if row]
        axes.plot(*zip(*points, strict=True), style, color="black", label=label)
    for name, colour in COLOURS.items():
        for seed in SEEDS:
            axes.axvline(
                results[f"range test, seed {seed}"][name],
                color=colour,
                alpha=0.7,
                label=None if seed else f"{name}{' (rounded)' if name == 'max_lr' else ''}",
            )
    axes.set(xscale="log", xlabel="learning rate", ylabel="validation accuracy")
    axes.set_title(f"One epoch of {IMAGES:,} images at {SIDE} px, and five seeds' suggestions")
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    log_lr_ticks(axes.xaxis, min(PEAKS), max(PEAKS))
    figure.legend(loc="outside right upper")
    return figure


draw_rates = drawn(build_rates)


def main() -> None:
    params = quick_params()
    data = read_training_data(DATA, params.data)
    for seed in SEEDS:
        measured(RESULTS, f"range test, seed {seed}", partial(suggestions, params, seed, data))
    linear = changed(params, lr_find={"mode": "linear"})
    measured(RESULTS, "linear, seed 0", partial(suggestions, linear, 0, data))

    short = changed(params, data={"train_limit": IMAGES}, train={"epochs": 1, "resolution": [SIDE]})
    few = read_training_data(DATA, short.data)
    for schedule, rates in SCHEDULES.items():
        wanted = changed(short, train={"schedule": schedule})
        for lr in rates:
            measured(RESULTS, f"{schedule}, {lr:g}", partial(short_training, wanted, few, lr))
    draw_rates(Path("docs/rates.png"), read_results(RESULTS))


if __name__ == "__main__":
    main()
