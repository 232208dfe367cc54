"""Copy the last run's pictures into docs/images and its log of epochs beside this file.

Git and the README can have them there: a file can't be an output that DVC caches and in git too.
tests/test_result.py holds the copies equal to dvc.lock and metrics/train.json.
"""

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ("lr_find", "training", "confusion", "calibration", "gradcam", "misclassified")
LOG = ROOT / "logs/train.jsonl"


def last_run(log: str) -> str:
    """The lines of the run that wrote the last one; the log has those of all runs."""
    lines = log.splitlines(keepends=True)
    run = json.loads(lines[-1])["run"]
    return "".join(line for line in lines if json.loads(line)["run"] == run)


def main() -> None:
    pictures = [ROOT / f"plots/{name}.png" for name in PICTURES]
    missing = [str(path.relative_to(ROOT)) for path in (*pictures, LOG) if not path.exists()]
    if missing:
        sys.exit(f"error: {', '.join(missing)}: not there; `make repro` makes them")
    for path in pictures:
        shutil.copyfile(path, ROOT / "docs/images" / path.name)
        print(f"docs/images/{path.name}")
    (ROOT / "docs/training.jsonl").write_text(last_run(LOG.read_text()))
    print("docs/training.jsonl")


if __name__ == "__main__":
    main()
