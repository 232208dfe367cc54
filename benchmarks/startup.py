"""What training spends before its first step: one process, from its start, part by part.

benchmarks/gpu.py runs it as `python -m benchmarks.startup STARTED PROJECT`, where STARTED is the
time at which it does so. Nothing large is imported at the top: imports are one of the parts.
"""

import ast
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from src.data.dataset import TrainingData
    from src.pipeline.params import Params


def imports_of(stage: str) -> list[str]:
    """The modules that a stage imports, also inside its functions."""
    nodes = list(ast.walk(ast.parse(Path(f"stages/{stage}.py").read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]


def clock(started: float) -> Callable[[], float]:
    """Seconds since it was last asked, at first since `started`, a time.time()."""
    last = started

    def lap() -> float:
        nonlocal last
        before, last = last, time.time()
        return last - before

    return lap


def parts(started: float, project: Path) -> dict[str, Any]:
    """Seconds of each part, from `started` on; project: as in `given`."""
    lap = clock(started)
    seconds = {"interpreter": lap()}
    for module in imports_of("train"):
        import_module(module)
    from benchmarks.setting import settings_of, waiting

    seconds["imports"] = lap()
    device = first_use()
    seconds["CUDA"] = lap()
    params, data = given(project)
    seconds["data"] = lap()
    settings = settings_of(params)
    seconds["augmentation"] = lap()
    from src.network.resnet import build_model
    from src.training.run import Run
    from src.training.schedule import Rates

    network = build_model("resnet18", len(data.classes), params.seed)
    seconds["network"] = lap()
    run = Run(network, data, settings, Rates(0.01, 0.01, 0.001))
    seconds["optimizer"] = lap()
    batches = iter(run.batches())
    batch = next(batches)
    seconds["workers"] = lap()
    for name in ("graph", "next step"):
        run.train_step(*batch)
        waiting(device)()
        seconds[name] = lap()
        batch = next(batches)
    return {**seconds, "images": len(data.train)}


def first_use() -> "torch.device":
    """The device, after the first thing that it does."""
    import torch

    from src.share import pick_device

    device = pick_device()
    torch.zeros(1, device=device).item()
    return device


def given(project: Path) -> tuple["Params", "TrainingData"]:
    """A project's params.yaml and data; the quick recipe and the built-in sample without them."""
    from benchmarks.setting import benchmark_params, sample
    from src.data.dataset import read_training_data
    from src.pipeline.read_params import load_params

    if not (project / "data/train.json").exists():
        return benchmark_params(1), sample(3_000)
    params = load_params(project / "params.yaml")
    return params, read_training_data(project / "data", params.data)


def main() -> None:
    found = parts(float(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
