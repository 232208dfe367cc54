"""Explain the network with Grad-CAM, and measure how faithful the explanations are."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    from src.explanation.choose import confused_pairs
    from src.explanation.examples import class_rows, mistake_rows, pair_rows, sample_rows
    from src.explanation.faithfulness import measure
    from src.explanation.leads import headline, metrics_of
    from src.explanation.sanity import cascade_correlations
    from src.explanation.subject import load_subject
    from src.explanation.tables import pair_table, tables
    from src.figures.class_examples import draw_class_examples
    from src.figures.confused_pairs import ACROSS, DOWN, draw_confused_pairs
    from src.figures.evidence import Legend
    from src.figures.faithfulness import draw_faithfulness, draw_sanity
    from src.figures.gradcam import draw_samples
    from src.figures.mistakes import draw_mistakes
    from src.pipeline.files import write_csv, write_json

    settings, plots = params.gradcam, paths.PLOTS
    subject = load_subject(paths.DATA, paths.WEIGHTS, paths.LOGITS, settings)
    legend = Legend.of(subject, settings.colors)
    samples = sample_rows(subject, settings.images, settings.samples, settings.target)
    draw_samples(plots / "gradcam.png", samples, settings.target, legend)
    draw_mistakes(plots / "misclassified.png", *mistake_rows(subject, settings.mistakes), legend)
    draw_class_examples(plots / "class_examples.png", class_rows(subject), legend)
    pairs = confused_pairs(subject.predicted, subject.test.labels, len(subject.classes))
    rows = pair_rows(subject, pairs[:DOWN], ACROSS)
    draw_confused_pairs(plots / "confused_pairs.png", rows, len(pairs), legend)
    write_csv(plots / "confused_pairs.csv", *pair_table(pairs, subject.classes))

    trained, sizes, method = subject.trained, subject.sizes, subject.method
    test, said, count = subject.test, subject.predicted, settings.faithfulness_images
    found = measure(trained, sizes, test, said, count, settings.faithfulness_others, method)
    few = test.images[:count], said[:count]
    checks = cascade_correlations(trained, subject.untrained, list(sizes), *few, method)
    for name, table in tables(found, checks).items():
        write_csv(plots / f"{name}.csv", *table)
    draw_faithfulness(plots / "faithfulness.png", found)
    draw_sanity(plots / "sanity.png", checks)
    write_json(paths.metrics("gradcam"), metrics := metrics_of(found.leads))
    print(headline(metrics))


if __name__ == "__main__":
    run_stage("gradcam", main)
