"""How every stage starts and ends: params.yaml, inputs that must not change, errors.

DVC hashes what a stage read only after it has ended (treeverse/dvc#11058), so code or data
edited during a long training would be recorded as what made the weights. A stage therefore
hashes its own inputs when it starts and when it ends, and fails where they differ.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pathspec import GitIgnoreSpec

from src.pipeline import paths
from src.pipeline.command import INTERRUPTED, print_any_letter, stdout_may_end
from src.pipeline.errors import InputError
from src.pipeline.files import sha256_file
from src.pipeline.lock import NOTHING, read_lock
from src.pipeline.params import Params
from src.pipeline.read_params import Loader, load_params
from src.pipeline.stop import Stopped, end_with_dvc

Inputs = dict[str, Any]
STARTED = time.perf_counter()
TEMPLATE = re.compile(r"\$\{([\w.]+)\}")


def seconds_since_start() -> float:
    """Imports, data and model: what a stage spends before its real work."""
    return time.perf_counter() - STARTED


def files_of(dep: str) -> Iterator[Path]:
    """The file that a dep names, or each file of the folder, as DVC sees it."""
    path = Path(dep)
    if not path.is_dir():
        yield path
        return
    lines = paths.IGNORED.read_text().splitlines() if paths.IGNORED.exists() else []
    ignored = GitIgnoreSpec.from_lines(lines)
    for file in sorted(path.rglob("*")):
        if not file.is_dir() and not ignored.match_file(file):
            yield file


def value_of(params: Any, key: str) -> Any:
    """The value that `key`, as in train.lr, has in params.yaml; LookupError where there is none."""
    for part in key.split("."):
        params = params[part]
    return params


def filled_in(dep: str, params: Any) -> str:
    """A dep in whose place a parameter may stand, as in ${data.folder}, as DVC reads it."""
    template = TEMPLATE.fullmatch(dep)
    return str(value_of(params, template[1])) if template else dep


def read_inputs(name: str) -> Inputs:
    """The digest of each file and the value of each param that dvc.yaml names for the stage.

    Raises InputError where one of them cannot be read.
    """
    try:
        stage = yaml.safe_load(paths.PIPELINE.read_text(encoding="utf-8"))["stages"][name]
        # As DVC and load_params read it: `on` is a folder's name, not true.
        params = Loader(paths.PARAMS.read_text(encoding="utf-8")).get_single_data()
        files = [file for dep in stage["deps"] for file in files_of(filled_in(dep, params))]
        inputs: Inputs = {str(file): sha256_file(file) for file in files}
        for key in stage["params"]:
            inputs |= leaves(value_of(params, key), f"params.yaml: {key}")
    except (yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError, OSError) as error:
        raise InputError(
            "params.yaml, dvc.yaml or an input cannot be read "
            f"({' '.join(str(error).split())}); nothing is recorded. Mend it and run again"
        ) from error
    return inputs


def leaves(value: object, name: str) -> Inputs:
    """The values of a section by their full names."""
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, each in value.items() for k, v in leaves(each, f"{name}.{key}").items()}


def recorded(name: str, path: Path) -> str | None:
    """The md5 that dvc.lock has for an output of a stage, or None."""
    try:
        return read_lock(paths.LOCK).get(name, NOTHING).outs.get(path)
    except InputError:
        return None


def check_unchanged(name: str, before: Inputs) -> None:
    """InputError where an input is no longer what it was when the stage started."""
    after = read_inputs(name)
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if changed:
        raise InputError(
            f"changed while it ran: {', '.join(changed)}; its result belongs to neither "
            "state, so nothing is recorded. Run the command again"
        )


def how_to_go_on() -> str:
    """What to do after a stop on request, which has saved the training's state."""
    if paths.QUEUED in str(Path.cwd()):
        return "DVC removes this folder, and the state with it, so the next run begins anew"
    if os.environ.get("RESUME") == "0":
        # The same command would throw away the state that has just been saved.
        return "without RESUME=0, run it again to go on"
    return "run the same command again to go on"


def run_stage(name: str, main: Callable[[Params, Inputs], None]) -> None:
    """Run `main(params, inputs)`; a fault of the user's becomes a sentence and status 1."""
    print_any_letter()
    end_with_dvc(name)
    try:
        with stdout_may_end(f"error in {name}"):
            load_params()  # Its sentences say more than those of read_inputs.
            inputs = read_inputs(name)
            # It reads after the hashing: a value that was edited in between is found at the end.
            main(load_params(), inputs)
            check_unchanged(name, inputs)
    except InputError as error:
        sys.exit(f"error in {name}: {error}")
    except Stopped as stop:
        # Nobody may be left to read it, here and below.
        with suppress(OSError):
            print(f"{name}: {stop.reason}; {how_to_go_on()}", file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        with suppress(OSError):
            print(f"{name}: interrupted; nothing is recorded", file=sys.stderr)
        # Worker processes and torch's threads have nothing left to say.
        os._exit(INTERRUPTED)
