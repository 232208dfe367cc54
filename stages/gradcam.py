"""Explain the network with Grad-CAM, and measure how faithful the explanations are."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    import torch

    from src.data.dataset import read_classes, read_split, read_statistics
    from src.device import memory_for
    from src.explanation.examples import Subject, load_logits, mistake_rows, sample_rows
    from src.explanation.faithfulness import faithfulness
    from src.figures.gradcam import draw_mistakes, draw_samples
    from src.network.weights import load_trained
    from src.pipeline.files import write_json

    layers, settings = params.gradcam.layers, params.gradcam
    names = read_classes(paths.DATA)
    test = read_split(paths.DATA, "test")
    logits = load_logits(paths.LOGITS, len(test), len(names))
    statistics = read_statistics(paths.DATA)
    trained = load_trained(paths.WEIGHTS, len(names), *statistics)

    subject = Subject(trained, test, names, logits.softmax(1).numpy())
    samples = sample_rows(subject, layers, settings.samples)
    draw_samples(paths.PLOTS / "gradcam.png", samples, layers)
    mistakes = mistake_rows(subject, layers[-1], settings.mistakes)
    draw_mistakes(paths.PLOTS / "misclassified.png", mistakes)
    shown = torch.from_numpy(test.images[: settings.faithfulness_images])
    with memory_for(
        f"gradcam.faithfulness_images: {len(shown):,} images", "lower it (params.yaml)"
    ):
        images = trained.normalize(shown)
    classes = logits[: len(images)].argmax(1).to(images.device)
    metrics = faithfulness(trained, layers, images, classes)
    write_json(paths.metrics("gradcam"), metrics)
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    run_stage("gradcam", main)
