"""Run a recipe as an experiment: `python -m recipes.run NAME` hands NAME.yaml to `dvc exp run`."""

import os
import re
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import yaml

from src.pipeline.command import not_started, run_command
from src.pipeline.errors import InputError
from src.pipeline.git import experiments, git

FOLDER = Path(__file__).parent


def read_recipe(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return values


def recipe_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    """The value of each parameter by its full name, as in train.lr."""
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        key: leaf
        for name, value in values.items()
        for key, leaf in leaves(value, f"{prefix}.{name}".lstrip(".")).items()
    }


def overrides(values: dict[str, Any]) -> Iterator[str]:
    """`key=value` for each leaf, as `dvc exp run -S` takes it."""
    return (f"{key}={in_hydra(value)}" for key, value in leaves(values).items())


def in_hydra(value: Any) -> str:
    """A value as Hydra's override grammar writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{in_hydra(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(in_hydra, value)) + "]"
    if isinstance(value, str):
        # Only before a quote is a backslash more than itself.
        return "'" + re.sub(r"(\\*)('|\Z)", escaped, value) + "'"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def escaped(quote: re.Match[str]) -> str:
    """A quote, or the end of the text, with the backslashes before it."""
    return 2 * quote[1] + ("\\'" if quote[2] else "")


def merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The values, in which the recipe's changes replace the old ones."""
    return values | {
        key: merge(section(values, key), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }


def section(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Its values; none where an older params.yaml has no such section, of which DVC tells."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def check_params(recipe: dict[str, Any], name: str) -> None:
    """Stop if params.yaml has values that are neither the default's nor a user's own.

    `dvc exp run -S` writes into params.yaml, so an earlier run's values would mix with this recipe,
    and a recipe's may even have been committed. A user's own edit counts once it is committed.
    """
    try:
        last = git(Path(), "show", "HEAD:./params.yaml")
    except InputError:
        return  # not a git repository: dvc says so itself
    try:
        found = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(
            f"error: params.yaml cannot be read ({' '.join(str(error).split())}); `git checkout "
            "HEAD -- params.yaml` brings the last commit's back"
        )
    committed = parse_committed(last)
    if found not in (committed, merge(committed, recipe)):
        sys.exit(
            f"error: params.yaml differs from the last commit, and {name} counts on that commit's "
            "values; commit them if they are your own edit, else bring the commit's back with "
            "`git checkout HEAD -- params.yaml dvc.lock metrics`"
        )
    changed = git(Path(), "diff", "--name-only", "--diff-filter=d", "HEAD", "--", "dvc.lock")
    if changed and found == committed:
        sys.exit(
            "error: dvc.lock has a run that is not committed, which would be lost when you go back "
            f"from {name}; commit it or, if you can do without it, `git checkout HEAD -- dvc.lock "
            "metrics`"
        )
    check_no_other_recipe(committed, recipe, name)


def parse_committed(text: str) -> dict[str, Any]:
    """The last commit's values; the end where it has none that a recipe could change."""
    try:
        values = yaml.safe_load(text)
        fault = "" if isinstance(values, dict) else "it names no parameters"
    except (ValueError, yaml.YAMLError) as error:
        values, fault = {}, " ".join(str(error).split())
    if fault:
        sys.exit(
            f"error: params.yaml cannot be read as it was committed last ({fault}); mend it and "
            "commit it, because a recipe counts on the commit's values"
        )
    return values


def check_no_other_recipe(committed: Any, recipe: dict[str, Any], name: str) -> None:
    """Stop if another recipe was committed, or a mixture of it and this one.

    A value of your own that another recipe happens to have too is neither.
    """
    held, own = leaves(committed).items(), leaves(recipe)
    for other in recipe_names():
        values = leaves(read_recipe(other))
        kept = {key: value for key, value in values.items() if key not in own}
        if kept and kept.items() <= held and (values.items() <= held or own.items() <= held):
            sys.exit(
                f"error: params.yaml has the values of {other}, of which {name} would keep "
                f"{', '.join(kept)}; bring the default's back with `git checkout COMMIT -- "
                f"params.yaml`, where COMMIT is one from before {other} (`git log params.yaml` "
                "lists them), and commit that"
            )


def free_name(name: str) -> str:
    """NAME, or NAME-2 and so on if experiments have the earlier names: DVC takes no name twice."""
    taken = experiments(Path())
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(free for free in names if free not in taken)


def main() -> None:
    names = recipe_names()
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        sys.exit(f"error: name one recipe: {', '.join(names)}")
    values = read_recipe(sys.argv[1])
    check_params(values, sys.argv[1])
    flags = [word for override in overrides(values) for word in ("-S", override)]
    try:
        os.execvp("dvc", ["dvc", "exp", "run", "-n", free_name(sys.argv[1]), *flags])
    except OSError as error:
        raise not_started("dvc", error) from error


if __name__ == "__main__":
    run_command(main)
