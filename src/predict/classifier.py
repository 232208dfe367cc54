"""A trained network that classifies and explains single pictures."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from src.data.records import Split
from src.evaluation.predict import predict
from src.explanation.gradcam import grad_cam
from src.explanation.layers import map_layers
from src.network.weights import Trained, load_alone
from src.pictures import Picture, to_square
from src.pipeline import paths
from src.predict.temperature import NotCalibrated, is_its_own, project_of, temperature_for

SHOWN = 3
OTHERS = "name other weights with --weights (with make: WEIGHTS=…)"
WAIT = f"a training runs here, which writes it when it ends; wait, or {OTHERS}"
MEND = (
    f"{OTHERS}, fetch the published ones with "
    "`make weights` or your last run's with `dvc checkout`, or train: `make demo` writes "
    "demo/models/model.safetensors, `make quick` and `make repro` write models/model.safetensors"
)


class Guess(NamedTuple):
    """A class, its index, and its probability."""

    name: str
    label: int
    probability: float


@dataclass(frozen=True)
class Classifier:
    """A network on its device, its class names, and the temperature of its logits.

    layers: those that Grad-CAM explains, none where the network has no maps;
    project: the folder of the weights' project, where evaluate's figures are;
    uncalibrated: why the temperature is 1 although nobody has measured that, or empty.
    """

    trained: Trained
    names: list[str]
    layers: list[str]
    project: Path
    temperature: float
    uncalibrated: str

    def classify(self, picture: Picture) -> list[Guess]:
        """The likeliest classes of an (H, W, 3) picture, the likeliest first."""
        square = Split(to_square(picture)[None], np.zeros(1, np.int64))
        logits = predict(self.trained, square)[0]
        probabilities = (logits.double() / self.temperature).softmax(0)
        best = probabilities.topk(min(SHOWN, len(self.names)))
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [Guess(self.names[label], label, probability) for probability, label in pairs]

    def explain(self, picture: Picture, label: int) -> dict[str, NDArray[np.float32]]:
        """For each layer the evidence for a class, (32, 32) in [0, 1], in the middle square."""
        if not self.layers:
            return {}
        inputs = self.trained.normalize(torch.from_numpy(to_square(picture)[None]))
        target = torch.tensor([label], device=inputs.device)
        cams = grad_cam(self.trained.model, self.layers, inputs, target, self.trained.precision)
        return {name: cam[0].cpu().numpy() for name, cam in cams.items()}


def load_classifier(weights: Path) -> Classifier:
    """The network of a weights file, calibrated where its project has the temperature.

    Raises InputError where the weights are missing, damaged or do not name their classes.
    """
    project = project_of(weights)
    # The method of Path raises where the system refuses to look; reading tells why.
    missing = not os.path.exists(weights)  # noqa: PTH110
    awaited = missing and is_its_own(weights, project) and is_training(project)
    trained, names = load_alone(weights, WAIT if awaited else MEND)
    layers = map_layers(trained.model)
    try:
        return Classifier(trained, names, layers, project, temperature_for(weights), "")
    except NotCalibrated as why:
        return Classifier(trained, names, layers, project, 1.0, str(why))


def is_training(project: Path) -> bool:
    """Whether a training holds the lock of a project; DVC has removed the old weights then."""
    try:
        with open(project / paths.RESUME / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
