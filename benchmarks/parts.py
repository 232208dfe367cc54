"""How many images a second do the loader, evaluation and Grad-CAM reach by themselves?"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.setting import BATCH, Wait, rate
from src.data.batches import PREFETCH, Augmented, BatchKeys, augmented_batches
from src.data.dataset import TrainingData
from src.data.normalize import Normalize
from src.evaluation.predict import predict
from src.explanation.gradcam import grad_cam
from src.network.resnet import build_model
from src.network.weights import Trained
from src.training.settings import Settings


def loader_rate(data: TrainingData, settings: Settings, workers: int, wait: Wait) -> float:
    augmented = Augmented(data.train, settings.augment)
    count = 4 * (len(data.train) // BATCH)
    # The first batch waits for the workers to start, and others are ready before it is taken.
    ahead = 1 + workers * PREFETCH
    keys = BatchKeys(len(data.train), BATCH, 0, 0, ahead + count)
    batches = iter(augmented_batches(augmented, keys, workers, settings.device))
    rate(batches, ahead, BATCH, wait)
    return rate(batches, count, BATCH, wait)


def network_rates(data: TrainingData, settings: Settings, wait: Wait) -> dict[str, float]:
    """Images a second of evaluation and of Grad-CAM."""
    device = settings.device
    model = build_model("resnet18", 10).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    normalize = Normalize(data.mean, data.std, device)
    # Fewer images than a test set has do not fill a GPU.
    seen = min(len(data.train), 10_000 if device.type == "cuda" else 500)
    few = data.train.subset(np.arange(seen))
    images = normalize(torch.from_numpy(few.images[:100]))
    targets = torch.from_numpy(few.labels[:100]).to(device)

    def evaluations() -> Iterator[None]:
        while True:
            predict(Trained(model, normalize, settings.precision), few)
            yield

    def explanations() -> Iterator[None]:
        while True:
            grad_cam(model, ["layer1", "layer2", "layer3", "layer4"], images, targets)
            yield

    # The first of each finds its kernels and memory. Explaining 100 images is a moment on a GPU.
    rate(evaluations(), 1, seen, wait)
    rate(explanations(), 1, len(images), wait)
    steps = 20 if device.type == "cuda" else 2
    return {
        "evaluation": rate(evaluations(), 2, seen, wait),
        "Grad-CAM, four layers, fp32": rate(explanations(), steps, len(images), wait),
    }
