"""What does each lever give a short training? One epoch at 16 px, three seeds, validation images.

The study needs data/ (`dvc repro download`) and about 20 minutes on two cores with bf16. It writes
each result to bench/levers.json at once, and a second call goes on from that file; delete the file
to measure anew, also after an edit of the training.
"""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from benchmarks.rates import SIDE, measured, read_results
from benchmarks.setting import changed, new_run, quick_params, settings_of
from src.data.dataset import TrainingData, read_training_data
from src.network.blocks import BasicBlock
from src.pipeline.params import Average, Params
from src.pipeline.paths import DATA
from src.training.run import Run
from src.training.validation import validate

RESULTS = Path("bench/levers.json")
SEEDS = range(3)
PEAK = 0.05
AVERAGE = 0.99  # train.average.decay: the mean covers about the last 100 steps
Lever = Callable[[Run], None]


def own_group(rate: float, run: Run) -> None:
    """Give batch norm and bias `rate` times the others' learning rate, and no weight decay."""
    (group,) = run.optimizer.param_groups
    small = [p for p in group["params"] if p.dim() == 1]
    group["params"] = [p for p in group["params"] if p.dim() > 1]
    rates = {k: rate * group[k] for k in ("lr", "initial_lr", "max_lr", "min_lr")}
    run.optimizer.add_param_group({**group, **rates, "params": small, "weight_decay": 0.0})
    # A step that is recorded for a GPU has only one rate, so no step is recorded here.
    run.device_step = run.compute


def quiet_branches(run: Run) -> None:
    """Start each residual branch at zero (Goyal et al. 2017, arXiv 1706.02677, §5.1)."""
    for block in run.model.modules():
        if isinstance(block, BasicBlock):
            nn.init.zeros_(block.bn2.weight)


LEVERS: dict[str, tuple[dict[str, float], Lever]] = {
    "as it is": ({}, lambda _: None),
    "no label smoothing": ({"label_smoothing": 0.0}, lambda _: None),
    "norm, bias: no decay": ({}, partial(own_group, 1.0)),
    "norm, bias: no decay, 4× rate": ({}, partial(own_group, 4.0)),
    "last norm starts at zero": ({}, quiet_branches),
}


def training(params: Params, lever: Lever, data: TrainingData) -> dict[str, float]:
    """Validation accuracy of the last weights and of the averaged weights."""
    run = new_run(data, settings_of(params), PEAK)
    lever(run)
    for images, labels in run.batches():
        run.train_step(images, labels)
    run.check_finite()
    mean = run.end_epoch(lambda: None)["val_accuracy"]
    assert data.validation is not None
    _, last = validate(
        run.model, data.validation, run.normalize, run.settings.precision, SIDE, lambda: None
    )
    return {"val_accuracy": last, "averaged": mean}


def main() -> None:
    short = {"epochs": 1, "resolution": [SIDE], "schedule": "one_cycle"}
    params = changed(quick_params(), train=short | {"average": Average(decay=AVERAGE)})
    data = read_training_data(DATA, params.data)
    for seed in SEEDS:
        for name, (values, lever) in LEVERS.items():
            wanted = changed(params, train=values).model_copy(update={"seed": seed})
            measured(RESULTS, f"{name}, seed {seed}", partial(training, wanted, lever, data))
    results = read_results(RESULTS)
    for name in LEVERS:
        for key in ("val_accuracy", "averaged"):
            found = [results[f"{name}, seed {seed}"][key] for seed in SEEDS]
            mean, spread = statistics.mean(found), statistics.stdev(found)
            print(f"{name:<32}{key:<14}{mean:.2%} ± {spread:.2%}")


if __name__ == "__main__":
    main()
