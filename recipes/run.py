"""Run a recipe as an experiment: `python recipes/run.py NAME` hands NAME.yaml to `dvc exp run`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


def read_recipe(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return values


def overrides(values: Any, prefix: str = "") -> Iterator[str]:
    """`key=value` for each leaf, as `dvc exp run -S` takes it."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from overrides(value, f"{prefix}.{name}".lstrip("."))
    else:
        yield f"{prefix}={in_hydra(values)}"


def in_hydra(value: Any) -> str:
    """A value as Hydra's override grammar writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{in_hydra(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(in_hydra, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The values, in which the recipe's changes replace the old ones."""
    return values | {
        key: merge(values[key], value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }


def check_params(recipe: dict[str, Any], name: str) -> None:
    """Stop if params.yaml has values that are neither the last commit's nor the recipe's.

    `dvc exp run -S` writes into params.yaml, so an earlier recipe's values would mix with this one.
    """
    git = subprocess.run(["git", "show", "HEAD:./params.yaml"], capture_output=True, check=False)
    if git.returncode:
        return  # not a git repository: dvc says so itself
    try:
        found = yaml.safe_load(Path("params.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(f"error: params.yaml cannot be read ({' '.join(str(error).split())})")
    committed = yaml.safe_load(git.stdout)
    if found not in (committed, merge(committed, recipe)):
        sys.exit(
            f"error: params.yaml differs from the last commit, and {name} counts on that commit's "
            "values; commit params.yaml, or restore it with `git checkout params.yaml`"
        )


def free_name(name: str) -> str:
    """NAME, or NAME-2 and so on if experiments have the earlier names: DVC takes no name twice."""
    git = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname)", "refs/exps"],
        capture_output=True,
        text=True,
        check=False,
    )
    taken = {ref.rpartition("/")[2] for ref in git.stdout.splitlines()}
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(free for free in names if free not in taken)


def main() -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        sys.exit(f"error: name one recipe: {', '.join(names)}")
    values = read_recipe(sys.argv[1])
    check_params(values, sys.argv[1])
    flags = [word for override in overrides(values) for word in ("-S", override)]
    os.execvp("dvc", ["dvc", "exp", "run", "-n", free_name(sys.argv[1]), *flags])


if __name__ == "__main__":
    main()
