"""What git says of a project, and of the experiments that DVC keeps there."""

import subprocess
from pathlib import Path

from src.pipeline.errors import InputError


def git(project: Path, *words: str | Path, check: bool = True) -> str:
    """What a git command prints; with check=False nothing where it fails.

    Raises InputError in git's own words where it fails.
    """
    try:
        done = subprocess.run(
            ["git", *words], cwd=project, capture_output=True, encoding="utf-8", errors="replace",
            check=False,
        )  # fmt: skip
    except OSError as error:
        if not check:
            return ""
        raise InputError(f"git cannot be started ({error.strerror}); install it") from error
    if done.returncode and check:
        said = " ".join(done.stderr.split())
        raise InputError(f"`git {' '.join(map(str, words))}` failed in {project} ({said})")
    return "" if done.returncode else done.stdout


def commit_at(project: Path, revision: str) -> str:
    """The commit that a revision of git stands for; nothing where the project lacks it."""
    words = ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return git(project, *words, check=False).strip()


def experiments(project: Path) -> dict[str, list[str]]:
    """The refs of DVC's experiments by their names, which several commits may share."""
    named: dict[str, list[str]] = {}
    for ref in git(
        project, "for-each-ref", "--format=%(refname)", "refs/exps", check=False
    ).split():
        named.setdefault(ref.rpartition("/")[2], []).append(ref)
    return named


def commit_of(project: Path, revision: str) -> str:
    """The commit that an experiment's name, or any revision of git, stands for.

    Raises InputError where it is neither, or the name of several experiments.
    """
    refs = experiments(project).get(revision, [revision])
    if len(refs) > 1:
        raise InputError(
            f"{revision}: {len(refs)} experiments have this name; `dvc exp list -A` shows them, "
            "and `dvc exp remove` takes the old ones away"
        )
    if not (found := commit_at(project, refs[0])):
        raise InputError(f"{revision}: no such experiment; `dvc exp list` names them")
    return found
