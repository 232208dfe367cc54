"""Explain the network with Grad-CAM, and measure how faithful the explanations are."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    from src.data.dataset import read_classes, read_split, read_statistics
    from src.explanation.examples import Subject, load_logits, mistake_rows, sample_rows
    from src.explanation.faithfulness import measure
    from src.explanation.leads import metrics_of
    from src.explanation.sanity import check
    from src.explanation.tables import tables
    from src.figures.faithfulness import draw_faithfulness, draw_sanity
    from src.figures.gradcam import draw_mistakes, draw_samples
    from src.network.weights import load_trained
    from src.pipeline.files import write_csv, write_json

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
    count, predicted = settings.faithfulness_images, logits.argmax(1).numpy()
    found = measure(trained, test, predicted, layers, count, settings.faithfulness_others)
    checks = check(trained, test.images[:count], predicted[:count], layers)
    for name, table in tables(found, checks).items():
        write_csv(paths.PLOTS / f"{name}.csv", *table)
    draw_faithfulness(paths.PLOTS / "faithfulness.png", found)
    draw_sanity(paths.PLOTS / "sanity.png", checks)
    metrics = metrics_of(found.leads)
    write_json(paths.metrics("gradcam"), metrics)
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    run_stage("gradcam", main)
