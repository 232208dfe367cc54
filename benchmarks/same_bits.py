"""Does this working copy compute, byte for byte, what another commit computes?

`make same-bits BASE=<commit>` runs both on this machine, each in a clone of its own: the demo from
nothing and, if CIFAR10_ARCHIVE names the data, all five stages of the default recipe on a few
images. It compares every output that their dvc.yaml files name. It keeps the outputs of BASE in
bench/same_bits for the next comparison, under a name that covers the machine and its packages.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
import yaml

from src.device import surroundings

KEPT = Path("bench/same_bits")
# The default recipe, shortened. A tree whose params.yaml lacks a name runs without it.
PROBE = {
    "data.train_limit": 1024,
    "data.val_size": 500,
    "train.epochs": 2,
    "lr_find.num_iter": 40,
    "gradcam.faithfulness_images": 8,
}
SWITCHES = ("DEVICE", "THREADS", "JOBS", "WORKERS", "CIFAR10_ARCHIVE")
Outputs = dict[str, bytes]


def git(*words: str, **env: str) -> str:
    done = subprocess.run(
        ["git", *words], env=os.environ | env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def snapshot() -> str:
    """Commit the working copy as it is, with the new files that git does not ignore.

    This changes no branch, index or file of the repository.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", "HEAD", **index)
        git("add", "--all", **index)
        tree = git("write-tree", **index)
    who = {f"GIT_{role}_{key}": "same-bits" for role in ("AUTHOR", "COMMITTER")
           for key in ("NAME", "EMAIL")}  # fmt: skip
    return git("commit-tree", tree, "-p", "HEAD", "-m", "working copy", **who)


def clone(commit: str, folder: Path) -> None:
    """Check the commit out in a repository of its own, which borrows this one's objects."""
    git("clone", "--quiet", "--shared", "--no-checkout", git("rev-parse", "--show-toplevel"),
        str(folder))  # fmt: skip
    git("-C", str(folder), "checkout", "--quiet", "--detach", commit)


def shorten(values: dict[str, Any]) -> None:
    """Set the probe's values in `values`, except those whose names it lacks."""
    for name, value in PROBE.items():
        *sections, last = name.split(".")
        place: Any = values
        for section in sections:
            place = place.get(section, {})
        if last in place:
            place[last] = value


def outputs(project: Path) -> Iterator[str]:
    """The path of each output and metric that the project's dvc.yaml names."""
    for stage in yaml.safe_load((project / "dvc.yaml").read_text())["stages"].values():
        for entry in [*stage.get("outs", []), *stage.get("metrics", [])]:
            yield entry if isinstance(entry, str) else next(iter(entry))


def reproduce(project: Path) -> Outputs:
    """Run the project's pipeline from nothing, and return what it wrote, by path."""
    env = {key: value for key, value in os.environ.items() if key != "RESUME"}
    if subprocess.run(["dvc", "repro", "--force"], cwd=project, env=env, check=False).returncode:
        sys.exit(f"error: `dvc repro` failed in {project}; its own message is above")
    return {path: (project / path).read_bytes() for path in outputs(project)}


def run_tree(commit: str, folder: Path) -> Outputs:
    """Run the demo at a commit and, with data at hand, the probe; return all that they write."""
    clone(commit, folder)
    found = {f"demo/{path}": content for path, content in reproduce(folder / "demo").items()}
    if "CIFAR10_ARCHIVE" in os.environ:
        params = folder / "params.yaml"
        values = yaml.safe_load(params.read_text())
        shorten(values)
        params.write_text(yaml.safe_dump(values, sort_keys=False))
        found |= {f"probe/{path}": content for path, content in reproduce(folder).items()}
    return found


def kept_name(commit: str) -> str:
    """A name for a commit's outputs here; it covers code, machine, packages and switches."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = [
        git("rev-parse", f"{commit}^{{tree}}"), PROBE, surroundings(device),
        torch.get_num_threads(), sorted(f"{d.name} {d.version}" for d in distributions()),
        {name: os.environ.get(name) for name in SWITCHES},
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def base_outputs(commit: str, folder: Path) -> Outputs:
    """The outputs of BASE, kept from an earlier call or else made and kept now."""
    kept = KEPT / kept_name(commit)
    if not kept.exists():
        unfinished = kept.with_suffix(".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        for path, content in run_tree(commit, folder).items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_bytes(content)
        unfinished.rename(kept)
    return {
        str(path.relative_to(kept)): path.read_bytes() for path in kept.rglob("*") if path.is_file()
    }


def differing_keys(before: bytes, after: bytes) -> list[str]:
    """The names whose values differ between two JSON objects."""
    a, b = json.loads(before), json.loads(after)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def compare(before: Outputs, after: Outputs) -> list[tuple[str, str]]:
    """(file, verdict) of every file; a file is matched by path, or else by name elsewhere."""
    rows, unmatched = [], dict(after)
    for path, content in sorted(before.items()):
        top, name = path.split("/")[0], Path(path).name
        moved = [p for p in unmatched if p.split("/")[0] == top and Path(p).name == name]
        match = path if path in unmatched else next(iter(moved), None)
        if match is None:
            rows.append((path, "only in BASE"))
            continue
        other = unmatched.pop(match)
        verdict = "same" if other == content else "different"
        if verdict == "different" and path.endswith(".json"):
            verdict += f" in {', '.join(differing_keys(content, other)) or 'form only'}"
        rows.append((path if match == path else f"{path} -> {match}", verdict))
    return rows + [(path, "only in the working copy") for path in sorted(unmatched)]


def resolve(words: list[str]) -> str:
    """The full name of the commit that the command line gives."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{''.join(words)}^{{commit}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if len(words) != 1 or done.returncode:
        sys.exit("error: name a commit to compare with: make same-bits BASE=<commit>")
    return done.stdout.strip()


def main() -> None:
    commit = resolve(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        before = base_outputs(commit, Path(folder) / "base")
        after = run_tree(snapshot(), Path(folder) / "work")
    rows = compare(before, after)
    print("\n".join(f"{path:<56}{verdict}" for path, verdict in rows))
    if "CIFAR10_ARCHIVE" not in os.environ:
        print("CIFAR10_ARCHIVE is not set, so only the demo was compared.")
    other = sum(verdict != "same" for _, verdict in rows)
    sys.exit(f"{other} of {len(rows)} files are not the same" if other else None)


if __name__ == "__main__":
    main()
