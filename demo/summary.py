"""What the demo ends with: what came out, where the pictures are, what to try next."""

import json
from pathlib import Path

NEXT = """\
Look at the pictures in demo/plots: gradcam.png (why the network decided as it did),
misclassified.png (its most confident mistakes), training.png, confusion.png, lr_find.png.

Try next:
  source .venv/bin/activate && cd demo
  dvc exp run -S train.lr=0.02     # one number changed: train, evaluate and gradcam run again
  dvc metrics diff                 # what it did to the figures
  dvc plots show                   # all curves in one page
The real thing, on CIFAR-10, from the folder above: make repro, or on a CPU: make quick"""


def main() -> None:
    metrics = Path(__file__).parent / "metrics"
    found, train, test, why = (
        json.loads((metrics / f"{stage}.json").read_text())
        for stage in ("lr_find", "train", "evaluate", "gradcam")
    )
    layer = max(key.split("_")[0] for key in why)
    print(
        f"\nTest accuracy {test['top1']:.1%} on images the network had never seen "
        f"({train['epochs']} epochs, {train['precision']}).\n"
        f"The range test gave bounds {found['base_lr']:g} to {found['max_lr']:g}; "
        f"training peaked at {train['lr']:g}.\n"
        f"Without the fifth of an image that Grad-CAM names at {layer}, the predicted class loses\n"
        f"{why[layer + '_drop']:.2f} of its probability; without the fifth that another image's "
        f"map names, {why[layer + '_drop_other_map']:.2f}.\n\n{NEXT}"
    )


if __name__ == "__main__":
    main()
