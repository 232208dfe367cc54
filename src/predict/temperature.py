"""The temperature that evaluate fitted for a network's logits, if it belongs to these weights."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.files import read_bytes, read_json

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
        same = digests_of_evaluate(project) == (md5(weights), md5(metrics))
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


def digests_of_evaluate(project: Path) -> tuple[str | None, str | None]:
    """The md5 that dvc.lock has of the weights that evaluate read and of the metrics it wrote."""
    try:
        lock = yaml.safe_load(read_bytes(project / paths.LOCK, ""))["stages"]["evaluate"]
        return digest(lock["deps"], paths.WEIGHTS), digest(lock["outs"], METRICS)
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise InputError(f"{paths.LOCK}: is damaged") from error


def digest(files: list[dict[str, Any]], path: Path) -> str | None:
    return next((file.get("md5") for file in files if file["path"] == str(path)), None)


def md5(path: Path) -> str:
    """As DVC names content; it guards against mistakes, not against forgery."""
    return hashlib.md5(read_bytes(path, ""), usedforsecurity=False).hexdigest()
