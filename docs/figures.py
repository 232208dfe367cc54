"""Copy the last run's pictures into docs/images, where git and the README can have them.

A file can't be an output that DVC caches and in git too; tests/test_result.py holds the copies
equal to dvc.lock.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ("lr_find", "training", "confusion", "calibration", "gradcam", "misclassified")


def main() -> None:
    pictures = [ROOT / f"plots/{name}.png" for name in PICTURES]
    missing = [f"plots/{path.name}" for path in pictures if not path.exists()]
    if missing:
        sys.exit(f"error: {', '.join(missing)}: not there; `make repro` draws them")
    for path in pictures:
        shutil.copyfile(path, ROOT / "docs/images" / path.name)
        print(f"docs/images/{path.name}")


if __name__ == "__main__":
    main()
