"""Put the data in place, checked and in canonical order."""

import os
from argparse import Namespace
from pathlib import Path

from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(args: Namespace, params: Params, _: Inputs) -> None:
    from src.data.records import canonical_order, to_records, write_split
    from src.pipeline.files import write_bytes, write_json
    from src.sources.cifar10 import load_cifar10, report
    from src.sources.shapes import CLASSES, draw

    if params.data.source == "shapes":
        shapes = params.data.shapes
        # Keyed by seed and image: the test set's seed must be another one.
        seeds = (2 * shapes.seed, 2 * shapes.seed + 1)
        drawn = [draw(n, seed) for n, seed in zip((shapes.train, shapes.test), seeds, strict=True)]
        train, test = (canonical_order(to_records(images, labels)) for images, labels, _ in drawn)
        classes = list(CLASSES)
    else:
        local = os.environ.get("CIFAR10_ARCHIVE")
        train, test, classes = load_cifar10(Path(local) if local else None)
    write_split(args.data / "train.bin", train)
    write_split(args.data / "test.bin", test)
    write_bytes(args.data / "classes.txt", "".join(f"{name}\n" for name in classes).encode())
    write_json(args.metrics, report(train, test))
    print(f"{len(train):,} training and {len(test):,} test images, {len(classes)} classes")


if __name__ == "__main__":
    run_stage("download", main, "data", "metrics")
