"""Find the learning rate by a range test, and show what augmentation does."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    import numpy as np

    from src.data.augment import draw_examples
    from src.data.dataset import read_training_data
    from src.figures.augmentation import draw_augmentation
    from src.figures.lr_find import draw_lr_find
    from src.lr_range.range_test import range_test
    from src.lr_range.trend import smooth
    from src.network.resnet import build_model
    from src.pipeline.files import write_csv, write_json
    from src.training.settings import prepare

    settings = prepare(params.train, params.optimizer, params.augment, params.seed)
    data = read_training_data(paths.DATA, params.data)
    model = build_model(params.model.arch, len(data.classes), params.seed)
    found = range_test(model, data, params.lr_find, settings)

    smoothed = smooth(found.losses)
    rows = np.stack([found.lrs, found.losses, smoothed], axis=1).tolist()
    write_csv(paths.PLOTS / "lr_find.csv", ["lr", "loss", "smoothed"], rows)
    write_json(paths.metrics("lr_find"), found.rates)
    draw_lr_find(paths.PLOTS / "lr_find.png", found, smoothed, params.lr_find.mode)
    originals, draws, labels = draw_examples(data.train, settings.augment)
    draw_augmentation(paths.PLOTS / "augmentation.png", originals, draws, labels, data.classes)
    # A number in train.lr needs none of them, so this is not the end of the pipeline.
    rates = ", ".join(f"{name} {rate:g}" for name, rate in found.rates.items())
    print(rates or f"no rate is found: {found.fault}")


if __name__ == "__main__":
    run_stage("lr_find", main)
