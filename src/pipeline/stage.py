"""How every stage starts and ends: flags, params.yaml, inputs that must not change, errors.

DVC hashes what a stage read only after it has ended (treeverse/dvc#11058), so code or data
edited during a long training would be recorded as what made the weights. A stage therefore
hashes its own inputs when it starts and when it ends, and fails where they differ.
"""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from src.pipeline.errors import InputError
from src.pipeline.files import sha256_file
from src.pipeline.params import Params, load_params
from src.pipeline.stop import Stopped

# Figures are drawn into files. From Jupyter a stage would inherit Jupyter's own backend, and
# without that module Matplotlib cannot be imported.
os.environ["MPLBACKEND"] = "agg"

Inputs = dict[str, Any]
STARTED = time.perf_counter()
INTERRUPTED = 130


def seconds_since_start() -> float:
    """Imports, data and model: what a stage spends before its real work."""
    return time.perf_counter() - STARTED


def read_flags(name: str, flags: tuple[str, ...]) -> Namespace:
    parser = ArgumentParser(prog=f"python -m stages.{name}", allow_abbrev=False)
    for flag in flags:
        parser.add_argument(f"--{flag}", type=Path, required=True, metavar="PATH")
    return parser.parse_args()


def read_inputs(name: str) -> Inputs:
    """The digest of each dep and the value of each param that dvc.yaml names for the stage.

    Raises InputError where one of them cannot be read.
    """
    try:
        stage = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][name]
        params = yaml.safe_load(Path("params.yaml").read_text())
        inputs: Inputs = {path: sha256_file(Path(path)) for path in stage["deps"]}
        for key in stage["params"]:
            value = params
            for part in key.split("."):
                value = value[part]
            inputs[f"params.yaml: {key}"] = value
    except (yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{name}: params.yaml, dvc.yaml or an input cannot be read "
            f"({' '.join(str(error).split())}); nothing is recorded. Mend it and run again"
        ) from error
    return inputs


def check_unchanged(name: str, before: Inputs) -> None:
    """InputError where an input is no longer what it was when the stage started."""
    after = read_inputs(name)
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if changed:
        raise InputError(
            f"{name}: changed while it ran: {', '.join(changed)}; its result belongs to neither "
            "state, so nothing is recorded. Run the command again"
        )


def run_stage(name: str, main: Callable[[Namespace, Params, Inputs], None], *flags: str) -> None:
    """Run `main(flags, params, inputs)`; a fault of the user's becomes a sentence and status 1."""
    args = read_flags(name, flags)
    try:
        params = load_params()
        inputs = read_inputs(name)
        main(args, params, inputs)
        check_unchanged(name, inputs)
    except InputError as error:
        sys.exit(f"error: {error}")
    except Stopped as stop:
        # The same command would throw away what has just been saved.
        afresh = os.environ.get("RESUME") == "0"
        how = "without RESUME=0, run it" if afresh else "run the same command"
        print(f"{name}: {stop.reason}; {how} again to go on", file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing is recorded", file=sys.stderr)
        # Worker processes and torch's threads have nothing left to say.
        os._exit(INTERRUPTED)
