"""Which test images are explained, and the rows of the figures that show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data.records import Split
from src.data.tensors import load_tensors
from src.device import memory_for
from src.explanation.gradcam import grad_cam
from src.network.weights import Trained
from src.pipeline.errors import InputError, remake

Picture = NDArray[np.uint8]
Cam = NDArray[np.floating]
MEND = remake("evaluate")


class Sample(NamedTuple):
    """An image and the evidence for its predicted class, one map in [0, 1] per layer."""

    image: Picture
    actual: str
    predicted: str
    probability: float
    cams: Sequence[Cam]


class Mistake(NamedTuple):
    """A misclassified image, with the evidence for what was said and for what it is."""

    image: Picture
    predicted: str
    predicted_probability: float
    predicted_cam: Cam
    actual: str
    actual_probability: float
    actual_cam: Cam


def load_logits(path: Path, images: int, classes: int) -> Tensor:
    """Evaluate's logits (images, classes); InputError where the file is damaged or another's."""
    logits = load_tensors(path, MEND)[0].get("logits")
    if logits is None or logits.shape != (images, classes):
        shape = None if logits is None else tuple(logits.shape)
        raise InputError(f"{path}: holds logits {shape}, not {(images, classes)}; {MEND}")
    return logits


def choose_samples(labels: NDArray[np.int64], count: int) -> list[int]:
    """The first images of each class in turn, so that the classes differ."""
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = np.arange(len(where))
    order = np.lexsort((labels, rank))
    return order[:count].tolist()


def choose_mistakes(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], count: int
) -> list[int]:
    """The wrong predictions, the most confident first."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    order = np.argsort(-probabilities[wrong].max(1), kind="stable")
    return wrong[order][:count].tolist()


@dataclass(frozen=True)
class Subject:
    """A network and what it said of the test images: (N, classes) probabilities."""

    trained: Trained
    test: Split
    names: Sequence[str]
    probabilities: NDArray[np.float32]

    def cams(
        self, layers: Sequence[str], rows: Sequence[int], targets: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """For each layer the maps (B, 32, 32) of B test images for their targets."""
        with memory_for(f"Grad-CAM of {len(rows)} images at a time"):
            inputs = self.trained.normalize(torch.from_numpy(self.test.images[rows]))
            classes = torch.from_numpy(targets).to(inputs.device)
            cams = grad_cam(self.trained.model, layers, inputs, classes, self.trained.precision)
        return [cams[name].cpu().numpy() for name in layers]


def sample_rows(subject: Subject, layers: Sequence[str], count: int) -> list[Sample]:
    """Test images explained for the predicted class, at each layer."""
    test, names, probabilities = subject.test, subject.names, subject.probabilities
    chosen = choose_samples(test.labels, count)
    predicted = probabilities[chosen].argmax(1)
    cams = subject.cams(layers, chosen, predicted)
    return [
        Sample(
            test.images[index],
            actual=names[test.labels[index]],
            predicted=names[said],
            probability=float(probabilities[index, said]),
            cams=[of_layer[row] for of_layer in cams],
        )
        for row, (index, said) in enumerate(zip(chosen, predicted, strict=True))
    ]


def mistake_rows(subject: Subject, layer: str, count: int) -> list[Mistake]:
    """The most confident mistakes, explained for the predicted and for the true class."""
    test, names, probabilities = subject.test, subject.names, subject.probabilities
    chosen = choose_mistakes(probabilities, test.labels, count)
    if not chosen:
        return []
    said, true = probabilities[chosen].argmax(1), test.labels[chosen]
    (said_cams,) = subject.cams([layer], chosen, said)
    (true_cams,) = subject.cams([layer], chosen, true)
    return [
        Mistake(
            test.images[index],
            names[said[row]],
            float(probabilities[index, said[row]]),
            said_cams[row],
            names[true[row]],
            float(probabilities[index, true[row]]),
            true_cams[row],
        )
        for row, index in enumerate(chosen)
    ]
