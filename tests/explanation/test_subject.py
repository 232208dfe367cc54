"""What is explained is read from the files, and everything params.yaml asks for is there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data.dataset import write_dataset
from src.data.records import canonical_order, to_records
from src.data.tensors import save_tensors
from src.explanation import subject
from src.explanation.gradcam import WEIGHTS
from src.explanation.subject import Subject, load_subject
from src.network.resnet import build_model
from src.network.weights import save_weights
from src.pipeline.errors import InputError
from src.pipeline.files import sha256_file
from src.pipeline.params import Gradcam
from src.sources.shapes import draw
from tests.conftest import tiny_values

CLASSES = ["cat", "true cat", "猫"]
LOGITS = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))


Load = Callable[..., Subject]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five test images of three classes, an untrained network and logits."""
    folder = tmp_path_factory.mktemp("subject")
    images, labels, _ = draw(25, 0)
    records = to_records(images, labels % 3)
    write_dataset(folder, canonical_order(records[:20]), canonical_order(records[20:]), CLASSES)
    save_weights(folder / "model", build_model("resnet18", 3), about())
    origin = {"weights": sha256_file(folder / "model"), "temperature": 0.5}
    save_tensors(folder / "logits", {"logits": LOGITS[:5, :3]}, origin)
    return folder


def about() -> dict[str, Any]:
    return {"arch": "resnet18", "precision": "fp32"}


@pytest.fixture
def load(folder: Path) -> Load:
    def load(**asked: Any) -> Subject:
        settings = Gradcam.model_validate(tiny_values()["gradcam"] | asked)
        return load_subject(folder, folder / "model", folder / "logits", settings)

    return load


def test_all_that_is_asked_for_is_found(load: Load) -> None:
    found = load(layers=["layer4.1.conv2", "layer1"], method="layercam", target="猫", images=[0, 4])
    assert found.sizes == {"layer4.1.conv2": (4, 4), "layer1": (32, 32)}
    assert (found.classes, found.method, len(found.test)) == (CLASSES, "layercam", 5)
    assert found.predicted.tolist() == LOGITS[:5, :3].argmax(1).tolist()
    (example,) = found.explain(["layer1"], [4], np.array([2]))
    assert (example.index, example.target, example.cams[0].shape) == (4, 2, (32, 32))
    expected = (LOGITS[4, :3] / 0.5).softmax(0)[2].item()
    assert example.target_probability == pytest.approx(expected)


def test_the_answers_of_another_network_are_refused(load: Load, folder: Path) -> None:
    """As after `dvc repro train`, with another rate, and then gradcam alone."""
    weights = (folder / "model").read_bytes()
    save_weights(folder / "model", build_model("resnet18", 3), about() | {"epochs": 2})
    with pytest.raises(InputError, match="logits: holds the answers of another network than"):
        load()
    (folder / "model").write_bytes(weights)
    load()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"layers": ["layer5"]}, r"gradcam\.layers: 'layer5'"),
        ({"target": "dog"}, r"gradcam\.target: 'dog' is not predicted, true or a class"),
    ],
)
def test_a_wrong_name_is_told_before_the_images_are_read(
    asked: dict[str, Any], sentence: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "read_split", lambda *_: pytest.fail("it read the images"))
    with pytest.raises(InputError, match=sentence):
        load(**asked)


def test_an_image_beyond_the_last_is_refused(load: Load) -> None:
    with pytest.raises(InputError, match=r"gradcam\.images: 5 is not one of the 5 test images"):
        load(images=[5])


@pytest.mark.parametrize("method", WEIGHTS)
def test_the_method_that_is_asked_for_makes_the_maps(
    method: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(
        _: Any, layers: Sequence[str], images: torch.Tensor, *rest: Any
    ) -> dict[str, torch.Tensor]:
        place = list(WEIGHTS).index(rest[-1])
        return {name: torch.full((len(images), 32, 32), float(place)) for name in layers}

    monkeypatch.setattr("src.explanation.maps.grad_cam", named)
    (example,) = load(method=method).explain(["layer1"], [0], np.array([0]))
    assert example.cams[0][0, 0] == list(WEIGHTS).index(method)
