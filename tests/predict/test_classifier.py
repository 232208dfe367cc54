"""A picture gets the classes, probabilities and evidence that the network gives its square."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.normalize import Normalize
from src.explanation.gradcam import grad_cam
from src.network.resnet import build_model
from src.network.weights import load_model, save_weights
from src.pictures import to_square
from src.pipeline.errors import InputError
from src.predict.classifier import Classifier, load_classifier
from src.sources.shapes import draw
from src.training.checkpoint import only_trainer
from tests.predict.conftest import ABOUT, NAMES, TEMPERATURE


def photo() -> np.ndarray:
    """(32, 48, 3), of which the network sees the middle."""
    image = draw(1, 3)[0][0]
    return np.concatenate([image[:, :8] // 2, image, image[:, :8] // 3], axis=1)


def plain(weights: Path) -> tuple[torch.nn.Module, torch.Tensor]:
    """The network and its input for the photo, without the code under test."""
    model, _ = load_model(weights, len(NAMES))
    normalize = Normalize(ABOUT["mean"], ABOUT["std"], torch.device("cpu"))
    return model, normalize(torch.from_numpy(photo()[None, :, 8:40].copy()))


def test_the_likeliest_classes_come_first_with_calibrated_probabilities(
    weights: Path, classifier: Classifier
) -> None:
    model, images = plain(weights)
    with torch.no_grad():
        expected = (model(images)[0].double() / TEMPERATURE).softmax(0)
    guesses = classifier.classify(photo())
    assert [guess.label for guess in guesses] == expected.argsort(descending=True)[:3].tolist()
    for guess in guesses:
        assert guess.name == NAMES[guess.label]
        assert guess.probability == pytest.approx(expected[guess.label].item(), abs=1e-5)


def test_the_evidence_is_grad_cam_s_for_that_class(weights: Path, classifier: Classifier) -> None:
    model, images = plain(weights)
    layers = ["layer1", "layer2", "layer3", "layer4"]
    for label in range(len(NAMES)):
        expected = grad_cam(model, layers, images, torch.tensor([label]))
        cams = classifier.explain(photo(), label)
        assert list(cams) == layers
        for layer, cam in cams.items():
            assert np.allclose(cam, expected[layer][0], atol=1e-4), layer


def test_a_network_without_maps_is_not_explained(classifier: Classifier) -> None:
    assert dataclasses.replace(classifier, layers=[]).explain(photo(), 0) == {}


def test_two_classes_give_two_guesses(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    save_weights(weights, build_model("resnet18", 2), ABOUT | {"classes": ["ja", "nein"]})
    guesses = load_classifier(weights).classify(photo())
    assert {guess.name for guess in guesses} == {"ja", "nein"}
    assert sum(guess.probability for guess in guesses) == pytest.approx(1)


def test_what_a_cpu_computes_in_software_is_computed_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bf16 network is many times slower there; the published one is such a network."""
    monkeypatch.setenv("DEVICE", "cpu")
    weights = tmp_path / "model.safetensors"
    save_weights(weights, build_model("resnet18", 4), ABOUT | {"precision": "bf16"})
    for able, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("src.device.cpu_computes", lambda _, able=able: able)
        assert load_classifier(weights).trained.precision == expected
        told = capsys.readouterr().out
        assert ("this CPU computes bf16 in software" in told) is not able
        assert f", {expected}, torch" in told
        assert "train.precision" not in told


def test_a_weights_file_is_enough(weights: Path, classifier: Classifier, tmp_path: Path) -> None:
    alone = load_classifier(Path(shutil.copy(weights, tmp_path / "mine.safetensors")))
    assert alone.uncalibrated == "no metrics/evaluate.json goes with the weights"
    sure, surer = classifier.classify(photo()), alone.classify(photo())
    assert surer[0].name == sure[0].name
    # A temperature of 2.5 makes every network less sure.
    assert surer[0].probability > sure[0].probability
    calibrated = dataclasses.replace(alone, temperature=TEMPERATURE)
    assert calibrated.classify(photo()) == sure


def test_weights_that_cannot_serve_are_refused_with_what_helps(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    with pytest.raises(InputError) as told:
        load_classifier(weights)
    assert str(told.value) == (
        f"{weights}: cannot be read (No such file or directory); name other weights with --weights "
        "(with make: WEIGHTS=…), fetch the published ones with `make weights` or your last run's "
        "with `dvc checkout`, or train: "
        "`make demo` writes demo/models/model.safetensors, `make quick` and `make repro` write "
        "models/model.safetensors"
    )
    save_weights(weights, build_model("resnet18", 4), {"arch": "resnet18", "precision": "fp32"})
    with pytest.raises(InputError, match=r"does not name its classes, so an older version wrote"):
        load_classifier(weights)
    save_weights(weights, build_model("resnet18", 3), ABOUT)
    with pytest.raises(InputError, match=r"does not fit resnet18 with 4 classes.*make quick"):
        load_classifier(weights)


def test_the_square_is_the_one_rule(classifier: Classifier) -> None:
    """What lies outside the middle changes nothing."""
    other = photo()
    other[:, :8], other[:, 40:] = 0, 255
    assert np.array_equal(to_square(other), photo()[:, 8:40])
    assert classifier.classify(other) == classifier.classify(photo())


def test_while_a_training_runs_the_missing_weights_are_its_own(tmp_path: Path) -> None:
    """DVC has removed the old ones, and the published network would not be the training's."""
    missing = tmp_path / "models/model.safetensors"
    writes_it = pytest.raises(InputError, match="a training runs here, which writes it when it e")
    with only_trainer(tmp_path / "resume"), writes_it:
        load_classifier(missing)
    mistyped = missing.with_suffix(".safetensor")
    not_its_own = pytest.raises(InputError, match=r"\.safetensor: .* fetch the published ones")
    with only_trainer(tmp_path / "resume"), not_its_own:
        load_classifier(mistyped)
    with pytest.raises(InputError, match="fetch the published ones with `make weights`"):
        load_classifier(missing)
    with pytest.raises(InputError, match="cannot be read \\(File name too long\\)"):
        load_classifier(tmp_path / (300 * "a"))
