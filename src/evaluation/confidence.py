"""What a network says of each image: how sure it is, and whether it is right."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def confidence_and_right(logits: Tensor, labels: Tensor) -> tuple[Floats, Floats]:
    """The predicted class's probability, (N,), and 1 where that class is right, else 0, (N,).

    In double precision, because in fp32 a class that leads by 17.3 already has a probability of
    exactly 1, which a network trained without label smoothing gives many images. Images of one
    confidence have no order among them; so each has the mean of those that share its confidence,
    and nothing that is sorted by confidence depends on the order in which the images are stored.
    """
    confidence = logits.double().softmax(1).amax(1).numpy()
    right = (logits.argmax(1) == labels).double().numpy()
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    return confidence, (np.bincount(group, right) / sizes)[group]
