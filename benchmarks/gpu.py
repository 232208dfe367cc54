r"""What can only a GPU tell? One prepared sitting asks it all: is it right, then what matters most.

    python -m benchmarks.gpu [--dry] [--out FOLDER] [QUESTION ...]

`--dry` tries everything on a CPU, at tiny size and on the built-in sample, in about 4 minutes.

Each answer names card, driver and versions, and goes at once as a line of JSON into
FOLDER/answers.jsonl (bench/gpu, or bench/gpu-dry). Each question has a time box; the script ends
one that passes it and notes it as cut off. The table of all answers comes last.

A second run with the same FOLDER goes on where the first stopped. It leaves out each question that
was done, cut off or failed; name one (`"4 step"`, or `4` for all of 4) to ask for the answers that
it still lacks. A training that was cut goes on only on the same machine. An empty FOLDER begins
anew: so let it lie where nothing empties it between two runs, and copy from there what is to come
back. It holds six files of at most 15 MiB each: answers.jsonl, log.txt, best.tar.0 and .1,
default.tar.0 and .1. Take all six to another machine, and of the finished stages only download
runs there again.

Where time is short: while the archive is on its way, ask 5, `"4 profile"` and `"4 step"`, which
need no data, in a copy of the folder that later transfers do not touch. Give this run and all later
ones the same `--out`, outside both folders. Start it in a session of its own, or what ends a call
may end it too:

    setsid nohup python3 -m benchmarks.gpu --out /tmp/gpu 5 "4 profile" "4 step" > /tmp/gpu.log &

Then end it with SIGTERM, ask 1, 2 and 3, and at last the rest. Give the answers time to come back:
what a call's own limit ends can copy nothing. So if that is 600 s:

    timeout 540 python3 -m benchmarks.gpu --out /tmp/gpu 1 2 3

Ask for a GPU before all else (torch takes a minute to load from a fresh disk), and look at
`df -h /dev/shm`, which the loader needs.

Before anything else, in a clone without uncommitted changes, note the commit for the answers. If
little can be carried at a time, leave the published outputs behind until the sitting is over
(`rm -r release/outputs/files`, then `git checkout -- release/outputs`):

    mkdir -p bench && git rev-parse HEAD > bench/commit

The machine needs no network, no DVC and no git. It needs torch, torchvision and the packages that
pyproject.toml names, except dvc and what fetches CIFAR-10. Images made for GPUs usually lack the
following ones, so bring them as wheels (11 MB). This fetches them for Linux and Python 3.12:

    names="albumentations albucore stringzilla simsimd torch-lr-finder pydantic pydantic-core
      annotated-types typing-extensions typing-inspection pytest iniconfig pluggy pygments
      hypothesis sortedcontainers"
    for name in $names; do grep -o "^$name==[^ ]*" requirements.txt; done > bench/wheels.txt
    python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 \
      --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
      --dest bench/wheels --requirement bench/wheels.txt

Bring bench/commit and the wheels with the first part of the archive. This installs them there;
each later command needs the variable again:

    python3 -m pip install --no-index --no-deps --upgrade --target bench/site bench/wheels/*.whl
    export PYTHONPATH=$PWD/bench/site

This splits CIFAR-10's archive into four parts of 41 MiB, to be brought one after another:

    split --number=4 --numeric-suffixes --suffix-length=1 cifar-10-binary.tar.gz bench/cifar.

This joins them there; each later command needs this variable again, too:

    cat bench/cifar.[0-3] > bench/cifar-10-binary.tar.gz
    export CIFAR10_ARCHIVE=$PWD/bench/cifar-10-binary.tar.gz

This records the default recipe's result, with the packages of that machine and not those of
requirements.txt. In a clone of the commit that ran, with default.tar.0 and default.tar.1 in it:

    dvc repro download
    cat default.tar.* | tar --extract
    dvc commit --force
"""

import argparse
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.gpu_answers import NEEDS_GPU, Values, has_gpu, table
from benchmarks.gpu_needs import has_archive, missing
from benchmarks.gpu_stages import DEFAULT, ROOT, CutOff, Sitting, Training, finish, train

Work = Callable[[Sitting, str, float], Values]


def measure(sitting: Sitting, question: str, deadline: float) -> Values:
    """Let a process of its own note the answers."""
    flags = ["--dry"] if sitting.dry else []
    path = str(sitting.answers.path.absolute())
    command = [sys.executable, "-u", "-m", "benchmarks.gpu_measures", question, path, *flags]
    # A GPU's loader has processes of its own, so a dry one has too.
    finish(command, ROOT, deadline, sitting.log, **({"WORKERS": "1"} if sitting.dry else {}))
    return {}


def gpu_tests() -> list[str]:
    """The tests' files that ask whether there is a GPU."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    asks = re.compile(r"torch\.cuda\.is_available\(\)")
    return [str(file.relative_to(ROOT)) for file in files if asks.search(file.read_text())]


def test(sitting: Sitting, _: str, deadline: float) -> Values:
    """How many of the tests that need a GPU passed."""
    # Other packages and their plugins warn, which is an error in the tests.
    flags = ("-p", "no:cacheprovider", "-W", "default")
    command = [sys.executable, "-m", "pytest", *flags, *gpu_tests()]
    said = finish(command, ROOT, deadline, sitting.log, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", said)}
    return counts if counts.get("passed") else {**counts, "note": NEEDS_GPU}


def start(sitting: Sitting, _: str, deadline: float) -> Values:
    """Seconds from the start of a training's process to its first step."""
    project = sitting.projects.absolute() / DEFAULT
    command = [sys.executable, "-u", "-m", "benchmarks.startup", str(time.time()), str(project)]
    said = finish(command, ROOT, deadline, sitting.log).splitlines()
    # A library may warn at its end.
    parts: Values = json.loads([line for line in said if line.startswith("{")][-1])
    return parts if has_gpu() else {**parts, "note": f"{NEEDS_GPU} for CUDA and graph"}


@dataclass(frozen=True)
class Question:
    """name: with its number in the plan that the script follows; box: seconds that it may take."""

    name: str
    box: int
    work: Work = measure
    on_cpu: bool = True

    @property
    def needs_archive(self) -> bool:
        return isinstance(self.work, partial)  # of train


def seeded(recipe: str | None, seed: int) -> Training:
    """A recipe with another seed. The data are the default recipe's.

    Quick's rate is a number, so the result of its range test does not matter.
    """
    borrowed = ("download", "lr_find") if recipe else ("download",)
    stages = ("download", "lr_find", "train", "evaluate")
    return Training(f"{recipe or DEFAULT}-{seed}", recipe, {"seed": seed}, stages, borrowed)


HALF = Training(
    "fp16", None, {"train": {"precision": "fp16", "epochs": 1}}, ("download", "lr_find", "train"),
    ("download", "lr_find"),
)  # fmt: skip
QUESTIONS = [
    # Whether a graph gives the right bits decides what the rest is worth. The first to ask also
    # waits for torch and CUDA to be read from a fresh disk.
    Question("5 tests", 150, test),
    Question("1 best", 420, partial(train, Training("best", "best"))),
    Question("2 default", 220, partial(train, Training(DEFAULT))),
    Question("3 training", 150),
    Question("4 step", 240),
    Question("4 profile", 60),
    Question("6 quick, seed 0", 75, partial(train, seeded("quick", 0))),
    Question("7 start-up", 60, start),
    Question("4 warm", 60),
    Question("6 rates", 60),
    Question("6 fp16", 60, partial(train, HALF), on_cpu=False),
    Question("4 loader", 60),
    Question("6 default, seed 1", 150, partial(train, seeded(None, 1))),
    Question("6 quick, seed 1", 75, partial(train, seeded("quick", 1))),
    Question("6 default, seed 2", 150, partial(train, seeded(None, 2))),
    Question("6 quick, seed 2", 75, partial(train, seeded("quick", 2))),
]
# A dry run tries each kind of question once; these are as others are.
NOT_DRY = ("6 default, seed 1", "6 default, seed 2", "6 quick, seed 1", "6 quick, seed 2")


def ask(question: Question, sitting: Sitting) -> None:
    """Work on a question until it is done or its time is up, and note how it ended."""
    print(f"{question.name}: at most {question.box} s", flush=True)
    began = time.monotonic()
    try:
        if question.on_cpu or has_gpu():
            found = question.work(sitting, question.name, began + question.box)
            values = {"state": "done", **found}
        else:
            values = {"state": NEEDS_GPU}
    except CutOff:
        values = {"state": f"cut off after {question.box} s"}
    except Exception as error:  # the questions that follow want their answers all the same
        values = {"state": "failed", "error": str(error) or type(error).__name__}
    sitting.answers.add(question.name, {"seconds": time.monotonic() - began, **values})


def chosen(names: list[str], sitting: Sitting) -> list[Question]:
    """The questions of those names, in that order; without names all that have not ended yet."""
    for name in names:
        if not any(question.name.startswith(name) for question in QUESTIONS):
            known = ", ".join(question.name for question in QUESTIONS)
            sys.exit(f"error: {name!r} is no question; name one of these: {known}")
    if names:
        named = (q for name in names for q in QUESTIONS if q.name.startswith(name))
        return list(dict.fromkeys(named))
    skipped = NOT_DRY if sitting.dry else ()
    return [q for q in QUESTIONS if q.name not in skipped and not sitting.answers.ended(q.name)]


def read_arguments() -> tuple[Sitting, list[str]]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("questions", nargs="*", metavar="QUESTION")
    parser.add_argument("--dry", action="store_true", help="at tiny size, on a CPU")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the answers go")
    given = parser.parse_args()
    usual = ROOT / "bench" / ("gpu-dry" if given.dry else "gpu")
    projects = usual.with_name(f"{usual.name}-projects")
    return Sitting(given.out or usual, projects, given.dry), given.questions


def main() -> None:
    sitting, names = read_arguments()
    if lacking := missing():
        # Said now it costs seconds; said by each question it would cost the sitting.
        sys.exit(
            f"error: {', '.join(lacking)}: not installed here; bring the wheels that "
            "benchmarks/gpu.py names, and set PYTHONPATH as it says"
        )
    questions = chosen(names, sitting)
    if not (sitting.dry or has_archive()) and any(each.needs_archive for each in questions):
        sys.exit(
            "error: CIFAR10_ARCHIVE does not name the archive by its whole path; set it as "
            "benchmarks/gpu.py says, or name other questions than 1, 2 and 6"
        )
    # A default SIGTERM would leave the running command behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sitting.out.mkdir(parents=True, exist_ok=True)
    if not sitting.answers.path.exists():
        # A training that goes on from an earlier sitting's state would take no time.
        shutil.rmtree(sitting.projects, ignore_errors=True)
    try:
        for question in questions:
            ask(question, sitting)
    finally:
        print(table(sitting.answers.rows()))


if __name__ == "__main__":
    main()
