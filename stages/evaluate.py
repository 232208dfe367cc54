"""Test the network: accuracy, calibration, every class."""

from argparse import Namespace

from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(args: Namespace, params: Params, _: Inputs) -> None:
    import torch

    from src.data.batches import Normalize
    from src.data.records import read_split
    from src.data.tensors import save_tensors
    from src.data.training_data import read_training_data
    from src.device import start
    from src.evaluation import metrics as ev
    from src.figures import evaluate as figures
    from src.figures.training import draw_training
    from src.network.resnet import load_model
    from src.pipeline.files import read_numbers, write_csv, write_json

    data = read_training_data(args.data, args.report, params.data)
    test = read_split(args.data, "test", args.report)
    model, about = load_model(args.weights, len(data.classes))
    device, precision = start(about["precision"], deterministic=True)
    model.to(device, memory_format=torch.channels_last)
    normalize = Normalize(data.mean, data.std, device)

    logits, labels = ev.predict(model, test, normalize, precision), torch.from_numpy(test.labels)
    temperature = None
    if data.validation is not None:
        held_out = ev.predict(model, data.validation, normalize, precision)
        temperature = ev.fit_temperature(held_out, torch.from_numpy(data.validation.labels))
    result = ev.evaluate(logits, labels, data.classes, temperature)
    if (tta := params.evaluate.tta) != "none":
        averaged = ev.predict(model, test, normalize, precision, tta)
        result.metrics[f"top1_{tta}"] = ev.accuracy(averaged, labels)

    save_tensors(args.logits, {"logits": logits}, {})
    write_csv(args.classes, ["class", "precision", "recall", "f1", "images"], result.classes)
    write_csv(args.confusion, ["actual", "predicted"], ev.named_pairs(logits, labels, data.classes))
    write_csv(args.calibration, *ev.calibration_table(result.calibration))
    draw_training(args.training_png, read_numbers(args.history, "run `dvc repro -f -s train`"))
    figures.draw_confusion(args.confusion_png, result.confusion, data.classes)
    figures.draw_calibration(args.calibration_png, result.calibration)
    figures.draw_classes(args.classes_png, [row[:4] for row in result.classes])
    write_json(args.metrics, result.metrics)
    print(", ".join(f"{name} {value:.4f}" for name, value in result.metrics.items()))


if __name__ == "__main__":
    run_stage(
        "evaluate", main, "weights", "data", "report", "history", "logits", "metrics",
        "confusion", "calibration", "classes",
        "training-png", "confusion-png", "calibration-png", "classes-png",
    )  # fmt: skip
