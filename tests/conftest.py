"""What the tests share: a tiny sample, a tiny network's parameters, a clean environment."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings

from src.data.dataset import TrainingData
from src.data.records import Split
from src.sources.shapes import CLASSES, draw

ROOT = Path(__file__).parents[1]
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# The networks of the tests are too small for two threads, which wait for each other by spinning:
# on a loaded machine that takes ten times as long. The variable is for the stages that they start;
# as_if_alone sets it here. torch asks MKL for its threads first.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
for name in ("AUTHOR", "COMMITTER"):
    os.environ[f"GIT_{name}_NAME"] = "test"
    os.environ[f"GIT_{name}_EMAIL"] = "test@localhost"
# A user's own settings must not decide whether the tests pass, and a test must not take a git
# hook's repository for its own.
own = {"WORKERS", "THREADS", "JOBS", "RESUME", "CHECKPOINT_SECONDS", "CIFAR10_URL"}
own |= {"CIFAR100_ARCHIVE", "CIFAR100_URL"}
# `make test` says of itself in these that it has started another make.
own |= {"MAKELEVEL", "MAKEFLAGS", "MFLAGS"}
# Some CI systems ask for colours, which stand in the middle of what a test reads.
own |= {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
own |= {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
# make takes its variables from the environment too.
own |= {"IMAGE", "WEIGHTS", "TRAIN", "BASE"}
own |= {name for name in os.environ if name.startswith("DVC_")}
for name in own & os.environ.keys():
    del os.environ[name]
# What the tests know of bits, threads and times holds on a CPU; those that need a GPU name it.
os.environ["DEVICE"] = "cpu"
GIT = {
    "commit.gpgsign": "false",
    "tag.gpgsign": "false",
    "core.hooksPath": os.devnull,
    "core.excludesFile": os.devnull,
    "core.autocrlf": "false",
}
# Behind those that are there: a container may call the folder safe by one.
before = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
os.environ["GIT_CONFIG_COUNT"] = str(before + len(GIT))
for number, (key, value) in enumerate(GIT.items(), before):
    os.environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
# A user's projects may share a cache. A stage would come back from it without a run, and the test
# of `dvc gc` would empty it. This folder does not exist.
for level in ("GLOBAL", "SYSTEM"):
    os.environ[f"DVC_{level}_CONFIG_DIR"] = str(ROOT / "tests/no-settings")
os.environ["DVC_SITE_CACHE_DIR"] = f"{tempfile.gettempdir()}/dvc-of-tests-{os.getuid()}"
# A loaded machine is slow, so hypothesis sets no deadline.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# The pages and mirrors that the tests serve are on this machine, whatever proxy there is.
os.environ |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
# The tests' dvc and python are those of this environment.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


# The folder of each published result.
PROJECTS = {"default": ".", "demo": "demo"}


def said_by_git(*words: str) -> str | None:
    """What git says of this copy; None without git, or where the command fails."""
    if not shutil.which("git"):
        return None
    done = run(ROOT, "git", *words, check=False)
    return None if done.returncode else done.stdout


@cache
def committed_params(path: str = "params.yaml") -> str:
    """params.yaml as committed, so that an experiment's values in the working copy fail no test."""
    return said_by_git("show", f"HEAD:{path}") or (ROOT / path).read_text()


def published_params(name: str = "default") -> dict[str, Any]:
    """What a published result was made with, whatever params.yaml is now."""
    commit = yaml.safe_load((ROOT / "docs/result.yaml").read_text())[name]["commit"]
    skip_without(commit)
    text = run(ROOT, "git", "show", f"{commit}:./{PROJECTS[name]}/params.yaml").stdout
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def tiny_values() -> dict[str, Any]:
    """Parameters with which the whole pipeline runs in well under a minute on one core."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "tests/values.yaml").read_text())
    return values


def leaves(values: Any, prefix: str = "") -> list[str]:
    """The full name of each parameter."""
    if not isinstance(values, dict):
        return [prefix]
    return [k for name, v in values.items() for k in leaves(v, f"{prefix}.{name}".lstrip("."))]


def tiny_data() -> TrainingData:
    """160 training and 40 validation images of the built-in sample."""
    images, labels, _ = draw(200, 0)
    everything = Split(images, labels)
    pixels = images.reshape(-1, 3) / 255
    return TrainingData(
        everything.subset(np.arange(160)),
        everything.subset(np.arange(160, 200)),
        list(CLASSES),
        pixels.mean(0).tolist(),
        pixels.std(0).tolist(),
    )


@pytest.fixture(autouse=True)
def as_if_alone() -> None:
    """Draws, threads and determinism do not depend on which tests ran before in this process."""
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def values() -> dict[str, Any]:
    return tiny_values()


@pytest.fixture
def project(tmp_path: Path, values: dict[str, Any]) -> Path:
    """A copy of the project, as a repository of its own, with the tiny parameters."""
    return make_project(tmp_path / "project", values)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after `dvc repro`, with its results committed; tests must not change it."""
    folder = make_project(tmp_path_factory.mktemp("pipeline") / "project", tiny_values())
    run(folder, "dvc", "repro")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "result")
    return folder


@pytest.fixture
def clone(done: Path, tmp_path: Path) -> Path:
    """A copy of the finished project, which a test may change."""
    return Path(shutil.copytree(done, tmp_path / "clone", symlinks=True))


def make_project(folder: Path, values: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    # With a file in it, as in the repository: DVC warns of an empty folder.
    pictures = folder / values["data"]["folder"]
    pictures.mkdir()
    shutil.copy(ROOT / "pictures/.gitignore", pictures)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    write_params(folder, values)
    for command in ("git init -q", "dvc init -q"):
        run(folder, *command.split())
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    (folder / "page").mkdir()
    shutil.copy(ROOT / "page/plots.html", folder / "page")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "start")
    return folder


def write_params(folder: Path, values: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def run(
    folder: Path, *command: str, check: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; a failure shows the command's output."""
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")
    return result


@cache
def pages() -> list[Path]:
    """The project's Markdown files; notes that you keep beside them are not its own."""
    patterns = ("*.md", "docs/*.md", "benchmarks/*.md")
    if known := said_by_git("ls-files", *(f":(glob){pattern}" for pattern in patterns)):
        return [ROOT / name for name in known.split()]
    return [path for pattern in patterns for path in ROOT.glob(pattern)]


def heading(line: str) -> str:
    """The anchor that the usual sites give to a heading."""
    text = re.sub(r"[^\w\- ]", "", line.lstrip("# ").strip().lower())
    return text.replace(" ", "-")


def check_link(page: Path, target: str) -> None:
    """A relative link leads to a file or folder, and its anchor to a heading there."""
    name, _, anchor = target.partition("#")
    file = (page.parent / name) if name else page
    assert file.exists(), target
    if anchor:
        headings = [line for line in file.read_text().splitlines() if line.startswith("#")]
        assert anchor in map(heading, headings), target


def skip_without(commit: str) -> None:
    """Skip where this copy cannot have the commit; a whole clone that lacks it is a fault."""
    if said_by_git("cat-file", "-e", f"{commit}^{{commit}}") is not None:
        return
    if said_by_git("rev-parse", "--is-shallow-repository") == "false\n":
        pytest.fail(f"docs/result.yaml names commit {commit[:7]}, which this clone lacks")
    pytest.skip(f"this copy lacks commit {commit[:7]}: it is not a full git clone")
