"""The temperature that evaluate fitted for a network's logits, if it belongs to these weights."""

from pathlib import Path

from src.data.tensors import load_tensors
from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.files import read_json, sha256_file
from src.pipeline.lock import NOTHING, OF_ONE_RUN, Recorded, md5, read_lock

METRICS = paths.metrics("evaluate")


class NotCalibrated(Exception):
    """Why the probabilities stay as they are: the end of a sentence that begins with because."""


def project_of(weights: Path) -> Path:
    """The folder of the project that the weights lie in, seen from the working directory."""
    project, here = weights.absolute().parent.parent, Path.cwd()
    return project.relative_to(here) if project.is_relative_to(here) else project


def temperature_for(weights: Path) -> float:
    """The temperature that evaluate fitted for a project's weights (Guo et al. 2017).

    Raises NotCalibrated where there is none, or where dvc.lock does not say that evaluate read
    these weights: another network's temperature would make a false promise.
    """
    project = project_of(weights)
    metrics, lock = project / METRICS, project / paths.LOCK
    try:
        if not metrics.exists():
            raise NotCalibrated(f"no {METRICS} goes with the weights")
        recorded = read_lock(lock)
        same = is_of(recorded.get("evaluate", NOTHING), weights, metrics)
        temperature = read_json(metrics, "").get("temperature")
    except (InputError, OSError) as error:
        raise NotCalibrated(f"{metrics} or {lock} cannot be read") from error
    if not same:
        raise NotCalibrated(
            f"{metrics} is not of these weights, as far as {lock} says"
            + way_out(weights, project, recorded.get("train", NOTHING).outs.get(paths.WEIGHTS))
        )
    # dvc.lock may be wrong: `dvc commit -f` and `dvc exp save` take all files for its stages'.
    if network_of(project / paths.LOGITS) not in (None, sha256_file(weights)):
        raise NotCalibrated(
            f"{project / paths.LOGITS} is of other weights, and so is {metrics}; "
            "`dvc repro -f -s evaluate` writes them anew"
        )
    if not isinstance(temperature, float):
        raise NotCalibrated(f"evaluation found no temperature ({metrics})")
    return temperature


def network_of(logits: Path) -> str | None:
    """The sha256 of the network that evaluate's logits name, where they are at hand."""
    try:
        name: str | None = load_tensors(logits, "")[1].get("weights")
    except InputError:
        return None
    return name


def way_out(weights: Path, project: Path, recorded: str | None) -> str:
    """How to get the temperature of a project's weights; of a copy elsewhere there is no way.

    recorded: the md5 that dvc.lock has of the project's weights. Where these are another run's, to
    run evaluate would train dvc.lock's run first, and remove them.
    """
    if not is_its_own(weights, project):
        return ""
    place = f" in {project}" if project.absolute() != Path.cwd() else ""
    if recorded and recorded != md5(weights):
        return f", which records another run{place}: {OF_ONE_RUN}"
    return f"; `dvc repro evaluate`{place} writes it anew"


def is_its_own(weights: Path, project: Path) -> bool:
    """Whether weights lie where a project's train stage writes them."""
    return weights.absolute() == (project / paths.WEIGHTS).absolute()


def is_of(evaluate: Recorded, weights: Path, metrics: Path) -> bool:
    """Whether evaluate read these weights and wrote these metrics."""
    read, wrote = evaluate.deps.get(paths.WEIGHTS), evaluate.outs.get(METRICS)
    return (read, wrote) == (md5(weights), md5(metrics))
