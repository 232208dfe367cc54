"""Put the data in place, checked and in canonical order."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    from src.data.dataset import write_dataset
    from src.pipeline.files import write_json
    from src.sources.table import load_source

    train, test, classes = load_source(params.data)
    counts = write_dataset(paths.DATA, train, test, classes, params.data.source)
    write_json(paths.metrics("download"), counts)
    print(f"{len(train):,} training and {len(test):,} test images, {len(classes)} classes")


if __name__ == "__main__":
    run_stage("download", main)
