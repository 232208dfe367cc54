"""The answers of two runs to their test images, if the two can be compared image by image."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from src.data.dataset import CLASSES, parse_classes
from src.data.records import Split, from_records, parse_records
from src.explanation.answers import Answers, parse_answers
from src.pipeline import paths
from src.pipeline.errors import InputError, one_line
from src.pipeline.lock import NOTHING, OF_ONE_RUN, Digests, Recorded, md5, parse_lock
from src.pipeline.revision import WORKSPACE, read_at

FILES = [paths.DATA / "test.bin", paths.DATA / CLASSES, paths.LOGITS]
SAME_DATA = "compare runs on the same data"
MEND = "run `dvc repro -f -s evaluate` there"
TEST_IT = (
    "bring it into the working copy (`dvc exp apply` or `git checkout`), run `{}`, and compare "
    f"`{WORKSPACE}`"
)


@dataclass(frozen=True)
class Tested:
    """A run's answers to its test images; name: in one line."""

    name: str
    test: Split
    classes: list[str]
    answers: Answers


def read_run(name: str) -> Tested:
    """InputError where the run is unknown or untested, or an output is missing or damaged."""
    revision, name = name, one_line(name)
    records, names, content, lock = read_at(revision, [*FILES, paths.LOCK])
    check_tested(name, parse_lock(lock, f"{name}: {paths.LOCK}"))
    test = from_records(parse_records(records, f"{name}: {FILES[0]}", MEND))
    classes = parse_classes(names)
    answers = parse_answers(content, f"{name}: {FILES[2]}", len(test), len(classes), MEND)
    check_network(revision, name, answers)
    return Tested(name, test, classes, answers)


def check_network(revision: str, name: str, answers: Answers) -> None:
    """InputError where the answers name another network than the run has.

    dvc.lock may not tell: after `dvc exp run train`, `dvc commit -f` and `dvc exp save` record that
    evaluate read the new network and wrote what is there, which is of the old one.
    """
    if answers.weights is None:
        return
    try:
        (network,) = read_at(revision, [paths.WEIGHTS])
    except InputError:
        return  # not at hand, as where the logits alone were pulled
    if sha256(network).hexdigest() != answers.weights:
        raise InputError(
            f"{name}: {paths.LOGITS} has the answers of another network than this run's, which was "
            "never tested; "
            + (MEND if revision == WORKSPACE else TEST_IT.format("dvc repro -f -s evaluate"))
        )


def check_tested(name: str, lock: Mapping[str, Recorded]) -> None:
    """InputError where the logits are those of another network or of other data.

    `dvc exp run train` ends before evaluate and leaves its outputs as they were.
    """
    workspace = name == WORKSPACE
    here = digests_here() if workspace else {}
    recorded = lock.get("train", NOTHING).outs.get(paths.WEIGHTS)
    if recorded and here.get(paths.WEIGHTS) not in {None, recorded}:
        raise InputError(f"{name}: dvc.lock records another run than {paths.WEIGHTS}: {OF_ONE_RUN}")
    if path := not_its_own(lock, here):
        raise InputError(
            f"{name}: evaluate {'wrote' if path == paths.LOGITS else 'read'} another {path} than "
            "this run has, so this run was never tested; "
            + ("run `dvc repro`" if workspace else TEST_IT.format("dvc repro"))
        )


def not_its_own(lock: Mapping[str, Recorded], here: Digests) -> Path | None:
    """A file that evaluate read or wrote in another form than the run has it, or None.

    here: of files that count more than what the lock has of the stages that made them.
    """
    evaluate = lock.get("evaluate", NOTHING)
    own = {path: digest for stage in lock.values() for path, digest in stage.outs.items()} | here
    # The network comes first: where it is new, so are its metrics, and it says more than they do.
    known = {paths.WEIGHTS: None, **evaluate.deps, paths.LOGITS: evaluate.outs.get(paths.LOGITS)}
    return next((path for path, digest in known.items() if own.get(path, digest) != digest), None)


def digests_here() -> Digests:
    """Of the network, the logits and what goes with them, as they lie in the working copy.

    DVC reads a file that is missing from its cache, except for the network: DVC removes it when a
    training starts, and until that has ended there is none that the logits could belong to.
    """
    there: Digests = {path: md5(path) for path in FILES if path.exists()}
    return there | {paths.WEIGHTS: md5(paths.WEIGHTS) if paths.WEIGHTS.exists() else None}


def check_pair(a: Tested, b: Tested) -> None:
    """InputError where two runs cannot be compared image by image, or do not differ."""
    if a.classes != b.classes:
        raise InputError(
            f"{a.name} tells {len(a.classes)} classes apart and {b.name} {len(b.classes)}"
            f"{', of other names' if len(a.classes) == len(b.classes) else ''}; {SAME_DATA}"
        )
    if not (
        np.array_equal(a.test.images, b.test.images)
        and np.array_equal(a.test.labels, b.test.labels)
    ):
        raise InputError(
            f"{a.name} and {b.name} were tested on different images ({FILES[0]} holds "
            f"{len(a.test):,} and {len(b.test):,}, and they are not the same); {SAME_DATA}"
        )
    if torch.equal(a.answers.logits, b.answers.logits):
        raise InputError(
            f"{a.name} and {b.name} give the same logits for every image, so they do not differ; "
            "name two other runs (`dvc exp list` has your experiments)"
        )
