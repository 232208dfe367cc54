"""Copy the last run's pictures into docs/images, where git and the README can have them.

A file can't be an output that DVC caches and in git too; tests/test_result.py holds the copies
equal to dvc.lock.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ("lr_find", "training", "confusion", "calibration", "gradcam", "misclassified")


def main() -> None:
    for name in PICTURES:
        shutil.copyfile(ROOT / f"plots/{name}.png", ROOT / f"docs/images/{name}.png")
        print(f"docs/images/{name}.png")


if __name__ == "__main__":
    main()
