"""Make the last run the committed result: its pictures, its log and docs/result.yaml.

`python docs/figures.py` records the default's run, `python docs/figures.py demo` the demo's.
Commit the run's dvc.lock and metrics first: docs/result.yaml names that commit, and the tests hold
the docs to it. Pictures are copied: a file can't be an output that DVC caches and in git too.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs/result.yaml"
PICTURES = ("lr_find", "training", "confusion", "calibration", "gradcam", "misclassified")
STAGES = ("download", "lr_find", "train", "evaluate", "gradcam")
HEADER = "# Written by `make figures`: the run that made the committed results.\n"


def last_run(log: str) -> list[dict[str, Any]]:
    """The lines of the run that wrote the last one; the log has those of all runs."""
    rows = [json.loads(line) for line in log.splitlines()]
    return [row for row in rows if row["run"] == rows[-1]["run"]]


def committed(project: Path) -> str:
    """The commit that holds the project's result; the end where it is not committed."""

    def git(*words: str) -> str:
        command = ["git", *words, "--", "dvc.lock", "metrics", "params.yaml"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    if changed := git("status", "--porcelain"):
        sys.exit(f"error: commit the run first; git says:\n{changed}")
    return git("rev-list", "-1", "HEAD")


def record(project: Path) -> dict[str, Any]:
    """What docs/result.yaml says of a project's last run."""
    run = last_run((project / "logs/train.jsonl").read_text())
    unwanted = {"run", "startup_seconds", "capabilities", "switches"}
    started = {key: value for key, value in run[0].items() if key not in unwanted}
    epochs = [row for row in run if "epoch" in row]
    return {
        "commit": committed(project),
        "command": "dvc repro",
        "seconds_of_epochs": round(sum(row["seconds"] for row in epochs), 1),
        **started,
        "metrics": {s: json.loads((project / f"metrics/{s}.json").read_text()) for s in STAGES},
    }


def copy_pictures() -> dict[str, str]:
    """Pictures to docs/images; the md5 of each, as in dvc.lock."""
    digests = {}
    for name in PICTURES:
        picture = ROOT / f"plots/{name}.png"
        shutil.copyfile(picture, ROOT / "docs/images" / picture.name)
        digests[picture.name] = hashlib.md5(picture.read_bytes()).hexdigest()
    return digests


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "default"
    if name not in {"default", "demo"}:
        sys.exit(f"error: {name}: record the run of default or demo")
    project = ROOT / "demo" if name == "demo" else ROOT
    needed = [project / "logs/train.jsonl", *(project / f"plots/{p}.png" for p in PICTURES)]
    missing = [str(path.relative_to(ROOT)) for path in needed if not path.exists()]
    if missing:
        command = "make demo" if name == "demo" else "make repro"
        sys.exit(f"error: {', '.join(missing)}: not there; `{command}` makes them")
    results = yaml.safe_load(RESULT.read_text())
    results[name] = record(project)
    if name == "default":
        results[name]["pictures"] = copy_pictures()
        rows = last_run((project / "logs/train.jsonl").read_text())
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (ROOT / "docs/training.jsonl").write_text(lines)
    RESULT.write_text(HEADER + yaml.safe_dump(results, sort_keys=False, allow_unicode=True))
    print(f"docs/result.yaml: {name} of commit {results[name]['commit'][:7]}")


if __name__ == "__main__":
    main()
