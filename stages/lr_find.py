"""Find the learning rate by a range test, and show what augmentation does."""

from argparse import Namespace

from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(args: Namespace, params: Params, _: Inputs) -> None:
    import numpy as np

    from src.data.augment import Augment, draw_examples
    from src.data.batches import worker_count
    from src.data.training_data import read_training_data
    from src.device import start
    from src.figures.augmentation import draw_augmentation
    from src.figures.lr_find import draw_lr_find
    from src.lr_range.curve import smooth
    from src.lr_range.range_test import range_test
    from src.network.resnet import build_model
    from src.pipeline.files import write_csv, write_json

    # Names an unknown transform at once, before data are read.
    Augment(params.augment, params.seed)
    device, precision = start(params.train.precision, params.train.deterministic)
    data = read_training_data(args.data, args.report, params.data)
    model = build_model(params.model.arch, len(data.classes), params.seed)
    found = range_test(model, data, params, device, precision, worker_count(device))

    smoothed = smooth(found.losses)
    rows = np.stack([found.lrs, found.losses, smoothed], axis=1).tolist()
    write_csv(args.curve, ["lr", "loss", "smoothed"], rows)
    write_csv(args.suggestions, ["suggestion", "lr"], sorted(found.suggestions.items()))
    write_json(args.metrics, {"lr": found.lr, "base_lr": found.base_lr, "max_lr": found.max_lr})
    mode = params.lr_find.mode
    draw_lr_find(
        args.figure,
        found.lrs,
        found.losses,
        smoothed,
        suggestions=found.suggestions,
        chosen=params.lr_find.suggestion,
        lr=found.lr,
        base_lr=found.base_lr,
        max_lr=found.max_lr,
        mode=mode,
        loss_name="training loss" if mode == "exponential" else "validation loss",
    )
    originals, draws, labels = draw_examples(data.train, params.augment, params.seed)
    draw_augmentation(args.augmentation, originals, draws, [data.classes[i] for i in labels])
    print(f"learning rate {found.lr:g}, bounds {found.base_lr:g} to {found.max_lr:g}")


if __name__ == "__main__":
    run_stage(
        "lr_find",
        main,
        "data",
        "report",
        "metrics",
        "curve",
        "suggestions",
        "figure",
        "augmentation",
    )
