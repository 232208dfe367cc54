"""The temperature that evaluate fitted for a network's logits, if it belongs to these weights."""

from pathlib import Path

from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.files import read_json
from src.pipeline.lock import NOTHING, Recorded, md5, read_lock

METRICS = paths.metrics("evaluate")


class NotCalibrated(Exception):
    """Why the probabilities stay as they are: the end of a sentence that begins with because."""


def temperature_for(weights: Path) -> float:
    """The temperature that evaluate fitted for a project's weights (Guo et al. 2017).

    Raises NotCalibrated where there is none, or where dvc.lock does not say that evaluate read
    these weights: another network's temperature would make a false promise.
    """
    project = weights.absolute().parent.parent
    metrics = project / METRICS
    try:
        if not metrics.exists():
            raise NotCalibrated(f"no {METRICS} goes with the weights")
        evaluate = read_lock(project / paths.LOCK).get("evaluate", NOTHING)
        same = is_of(evaluate, weights, metrics)
        temperature = read_json(metrics, "").get("temperature")
    except (InputError, OSError) as error:
        raise NotCalibrated(f"{METRICS} or {paths.LOCK} cannot be read") from error
    if not same:
        raise NotCalibrated(
            f"{METRICS} is not of these weights, as far as {paths.LOCK} says; "
            "`dvc repro evaluate` writes it anew"
        )
    if not isinstance(temperature, float):
        raise NotCalibrated(f"evaluation found no temperature ({METRICS})")
    return temperature


def is_of(evaluate: Recorded, weights: Path, metrics: Path) -> bool:
    """Whether evaluate read these weights and wrote these metrics."""
    read, wrote = evaluate.deps.get(paths.WEIGHTS), evaluate.outs.get(METRICS)
    return (read, wrote) == (md5(weights), md5(metrics))
