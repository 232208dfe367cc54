"""A project with a network that was never trained: it says anything, but always the same."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from src.network.resnet import build_model
from src.network.weights import save_weights
from src.pipeline.lock import md5
from src.predict.classifier import Classifier, load_classifier
from src.sources.shapes import draw

NAMES = ["cat", "dog", "sea horse", "Ente"]
ABOUT = {
    "arch": "resnet18",
    "precision": "fp32",
    "classes": NAMES,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.2],
}
TEMPERATURE = 2.5


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a project after `dvc repro`, with a temperature."""
    project = tmp_path_factory.mktemp("project")
    weights, metrics = project / "models/model.safetensors", project / "metrics/evaluate.json"
    save_weights(weights, build_model("resnet18", len(NAMES)), ABOUT)
    metrics.parent.mkdir()
    metrics.write_text(json.dumps({"top1": 0.9, "temperature": TEMPERATURE}))
    deps = [{"path": "models/model.safetensors", "md5": md5(weights)}]
    outs = [{"path": "metrics/evaluate.json", "md5": md5(metrics)}]
    lock = {"schema": "2.0", "stages": {"evaluate": {"deps": deps, "outs": outs}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    return weights


@pytest.fixture(scope="session")
def classifier(weights: Path) -> Classifier:
    return load_classifier(weights)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, one in a subfolder, beside what is none."""
    folder = tmp_path_factory.mktemp("photos")
    images, _, _ = draw(3, 0)
    (folder / "old").mkdir()
    for name, image in zip(("a.png", "b [1].JPG", "old/c.webp"), images, strict=True):
        Image.fromarray(image).resize((90, 60)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "damaged.txt").write_bytes((folder / "a.png").read_bytes()[:-60])
    return folder
