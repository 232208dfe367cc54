"""Put the data in place, checked and in canonical order."""

import os
from pathlib import Path

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    from src.data.dataset import write_dataset
    from src.pipeline.files import write_json
    from src.sources.cifar10 import load_cifar10
    from src.sources.shapes import load_shapes

    if params.data.source == "shapes":
        shapes = params.data.shapes
        train, test, classes = load_shapes(shapes.train, shapes.test, shapes.seed)
    else:
        local = os.environ.get("CIFAR10_ARCHIVE")
        mirror = os.environ.get("CIFAR10_URL")
        train, test, classes = load_cifar10(Path(local) if local else None, mirror=mirror)
    counts = write_dataset(paths.DATA, train, test, classes, params.data.source)
    write_json(paths.metrics("download"), counts)
    print(f"{len(train):,} training and {len(test):,} test images, {len(classes)} classes")


if __name__ == "__main__":
    run_stage("download", main)
