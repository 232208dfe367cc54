"""What the demo ends with: what came out, where the pictures are, what to try next."""

import json
from pathlib import Path
from typing import Any

STAGES = ("lr_find", "train", "evaluate", "gradcam")
NEXT = """\
Look at the pictures in demo/plots: gradcam.png (why the network decided as it did),
misclassified.png (its most confident mistakes), class_examples.png (the best and the worst of
each class), faithfulness.png (how far to trust the maps), training.png, confusion.png.

Try next:
  source .venv/bin/activate && cd demo
  git switch -c mine                   # the first time only
  git commit -am "My run"              # so that diff shows your change, not your hardware
  dvc exp run -S train.lr=0.02 train   # train with another rate; the test set stays unread
  dvc metrics diff                     # what it did to val_accuracy
  dvc repro                            # when you have chosen: test and explain the network
  dvc plots show                       # all curves in one page
The real thing, on CIFAR-10, from the folder above: make repro, or on a CPU: make quick"""


def summary(metrics: dict[str, Any]) -> str:
    """The demo's last lines, from the metrics of its stages."""
    found, train, test, why = (metrics[stage] for stage in STAGES)
    bounds = f"bounds {found['base_lr']:g} to {found['max_lr']:g}" if found else "no rate"
    # By name the last layer; none where the test images were too few.
    maps = "".join(
        f"Grad-CAM's maps at {layer} {'lead' if why[layer] > 0 else 'are behind'} the best of four "
        f"controls by {abs(why[layer]):.2f} ± {why[layer + '_error']:.2f}\n"
        "in log-odds: how much more the prediction rests on the pixels that they name.\n"
        for layer in sorted(name for name in why if not name.endswith("_error"))[-1:]
    )
    return (
        f"Test accuracy {test['top1']:.1%} on images the network had never seen "
        f"({train['epochs']} epochs, {train['precision']}).\n"
        f"The range test gave {bounds}; training peaked at {train['lr']:g}.\n"
        f"{maps}\n{NEXT}"
    )


def main() -> None:
    folder = Path(__file__).parent / "metrics"
    print("\n" + summary({s: json.loads((folder / f"{s}.json").read_text()) for s in STAGES}))


if __name__ == "__main__":
    main()
