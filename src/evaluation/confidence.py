"""What a network says of each image: how sure it is, and whether it is right."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def confidence_and_right(logits: Tensor, labels: Tensor) -> tuple[Floats, Floats]:
    """The predicted class's probability, (N,), and 1 where that class is right, else 0, (N,).

    Images of one confidence have no order among them, and a sure network gives many a confidence
    of exactly 1. So each has the mean of those that share its confidence, and nothing that is
    sorted by confidence depends on the order in which the images are stored.
    """
    confidence = logits.softmax(1).amax(1).double().numpy()
    right = (logits.argmax(1) == labels).double().numpy()
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    return confidence, (np.bincount(group, right) / sizes)[group]
