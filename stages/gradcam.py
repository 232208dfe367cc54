"""Explain the network with Grad-CAM, and measure how faithful the explanations are."""

from argparse import Namespace

from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(args: Namespace, params: Params, _: Inputs) -> None:
    import torch

    from src.data.batches import Normalize
    from src.data.records import read_classes, read_split
    from src.data.training_data import channel_statistics
    from src.device import start
    from src.explanation.examples import Subject, load_logits, mistake_rows, sample_rows
    from src.explanation.gradcam import faithfulness
    from src.figures.gradcam import draw_mistakes, draw_samples
    from src.network.resnet import load_model
    from src.pipeline.files import write_json

    layers, settings = params.gradcam.layers, params.gradcam
    names = read_classes(args.data)
    test = read_split(args.data, "test", args.report)
    logits = load_logits(args.logits, len(test), len(names))
    model, _about = load_model(args.weights, len(names))
    device, _precision = start("fp32", deterministic=True)
    model.to(device, memory_format=torch.channels_last)
    normalize = Normalize(*channel_statistics(args.report), device)

    subject = Subject(model, normalize, test, names, logits.softmax(1).numpy())
    draw_samples(args.samples, sample_rows(subject, layers, settings.samples), layers)
    draw_mistakes(args.mistakes, mistake_rows(subject, layers[-1], settings.mistakes))
    images = normalize(torch.from_numpy(test.images[: settings.faithfulness_images]))
    classes = logits[: len(images)].argmax(1).to(device)
    metrics = faithfulness(model, layers, images, classes)
    write_json(args.metrics, metrics)
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    run_stage(
        "gradcam", main, "weights", "logits", "data", "report", "metrics", "samples", "mistakes"
    )
