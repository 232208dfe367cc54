"""The test images that the figures show, with the evidence in them."""

from collections.abc import Sequence
from typing import NamedTuple

from src.explanation.choose import (
    Pair,
    choose_samples,
    least_right,
    surest,
    surest_of_each,
)
from src.explanation.lookup import find_targets
from src.explanation.subject import Example, Subject


class Mistake(NamedTuple):
    """A misclassified image, explained for the class that was said and for the one that it is."""

    said: Example
    true: Example


class ClassExamples(NamedTuple):
    """A class: its test images, how many are right, the surest right one, the surest mistake."""

    label: int
    images: int
    right: int
    best: Example | None
    worst: Mistake | None


class PairExamples(NamedTuple):
    """Two classes that were confused, and images of the first that were taken for the second."""

    pair: Pair
    examples: Sequence[Example]


def sample_rows(
    subject: Subject, images: Sequence[int] | None, count: int, target: str
) -> list[Example]:
    """Test images explained at every layer: these, or `count` of which the classes differ.

    target: predicted, true, or the name of the class to explain.
    """
    labels = subject.test.labels
    rows = choose_samples(labels, count) if images is None else images
    targets = find_targets(target, subject.classes, subject.predicted[rows], labels[rows])
    return subject.explain(subject.layers, rows, targets)


def explain_mistakes(subject: Subject, rows: Sequence[int]) -> list[Mistake]:
    """Misclassified test images, explained for both classes at the last layer."""
    layer = subject.layers[-1:]
    said = subject.explain(layer, rows, subject.predicted[rows])
    true = subject.explain(layer, rows, subject.test.labels[rows])
    return [Mistake(*both) for both in zip(said, true, strict=True)]


def mistake_rows(subject: Subject, count: int) -> tuple[list[Mistake], int]:
    """The most confident mistakes, and how many mistakes there are in all."""
    chosen = surest(subject.probabilities, ~subject.right)
    return explain_mistakes(subject, chosen[:count]), len(chosen)


def class_rows(subject: Subject, count: int = 10) -> list[ClassExamples]:
    """The classes that are least often right, each with its surest right image and mistake."""
    predicted, labels, right = subject.predicted, subject.test.labels, subject.right
    chosen = least_right(predicted, labels, len(subject.classes))[:count]
    best = surest_of_each(subject.probabilities, labels, right, chosen)
    worst = surest_of_each(subject.probabilities, labels, ~right, chosen)
    rows = list(best.values())
    examples = subject.explain(subject.layers[-1:], rows, predicted[rows])
    mistakes = explain_mistakes(subject, list(worst.values()))
    best_of = dict(zip(best, examples, strict=True))
    worst_of = dict(zip(worst, mistakes, strict=True))
    return [
        ClassExamples(
            label,
            images=int((labels == label).sum()),
            right=int(right[labels == label].sum()),
            best=best_of.get(label),
            worst=worst_of.get(label),
        )
        for label in chosen
    ]


def pair_rows(subject: Subject, pairs: Sequence[Pair], count: int) -> list[PairExamples]:
    """For each pair its `count` most confident examples, explained for what was said."""
    rows = []
    for pair in pairs:
        among = (subject.test.labels == pair.actual) & (subject.predicted == pair.predicted)
        chosen = surest(subject.probabilities, among)[:count]
        examples = subject.explain(subject.layers[-1:], chosen, subject.predicted[chosen])
        rows.append(PairExamples(pair, examples))
    return rows
