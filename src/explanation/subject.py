"""The network and the test images that are explained, and the evidence in an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from src.data.dataset import read_classes, read_split, read_statistics
from src.data.records import Split
from src.explanation.answers import Answers, check_network, load_answers
from src.explanation.lookup import check_images, check_target, layer_sizes
from src.explanation.maps import maps_of
from src.network.resnet import build_model
from src.network.weights import Trained, load_model, ready
from src.pipeline.params import Gradcam

Picture = NDArray[np.uint8]
Cam = NDArray[np.floating]


@dataclass(frozen=True)
class Example:
    """A test image, and the evidence in it for one class: a map in [0, 1] for each layer.

    index: its place in the test set; actual, predicted, target: class indices; the maps speak for
    the target.
    """

    index: int
    image: Picture
    actual: int
    predicted: int
    predicted_probability: float
    target: int
    target_probability: float
    cams: Sequence[Cam]


@dataclass(frozen=True)
class Subject:
    """A network, the test images, what it said of them, and how its maps are computed.

    untrained: the network as before any training, from a seed; method: a name in WEIGHTS of
    src/explanation/gradcam.py; sizes: height and width of the maps of each layer that is explained.
    """

    trained: Trained
    untrained: Callable[[int], nn.Module]
    test: Split
    classes: Sequence[str]
    answers: Answers
    method: str
    sizes: Mapping[str, tuple[int, int]]

    @property
    def layers(self) -> list[str]:
        return list(self.sizes)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        return self.answers.probabilities

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        # Of the logits, as evaluate has it: in the softmax two classes may be rounded to a tie.
        return self.answers.logits.argmax(1).numpy()

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return self.predicted == self.test.labels

    def explain(
        self, layers: Sequence[str], rows: Sequence[int], targets: NDArray[np.int64]
    ) -> list[Example]:
        """The evidence in test images at each layer; targets: the class to explain of each."""
        if not rows:
            return []
        maps = maps_of(self.trained, layers, self.test.images[rows], targets, self.method)
        return [
            Example(
                index,
                self.test.images[index],
                actual=int(self.test.labels[index]),
                predicted=int(self.predicted[index]),
                predicted_probability=float(self.probabilities[index].max()),
                target=int(target),
                target_probability=float(self.probabilities[index, target]),
                cams=[maps[name][row] for name in layers],
            )
            for row, (index, target) in enumerate(zip(rows, targets, strict=True))
        ]


def load_subject(folder: Path, weights: Path, logits: Path, settings: Gradcam) -> Subject:
    """What is to be explained, from the data folder, the weights file and evaluate's logits.

    Raises InputError where a file is damaged, and where the parameters name a layer, class or
    image that is not there: the layer before the images are read.
    """
    classes = read_classes(folder)
    check_target(settings.target, classes)
    model, about = load_model(weights, len(classes))
    trained = ready(model, about, *read_statistics(folder))
    untrained = partial(build_model, about["arch"], len(classes))
    sizes = layer_sizes(trained.model, settings.layers)
    test = read_split(folder, "test")
    check_images(settings.images or [], len(test))
    said = load_answers(logits, len(test), len(classes))
    check_network(said, logits, weights)
    return Subject(trained, untrained, test, classes, said, settings.method, sizes)
