"""The examples use evaluate's logits, refuse other files, and have the right maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from src.data.normalize import Normalize
from src.data.records import Split
from src.data.tensors import save_tensors
from src.explanation.examples import (
    Subject,
    choose_mistakes,
    choose_samples,
    load_logits,
    mistake_rows,
    sample_rows,
)
from src.network.weights import Trained
from src.pipeline.errors import InputError

LOGITS = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_tensors(tmp_path / "logits.safetensors", {"logits": LOGITS}, {})
    return tmp_path / "logits.safetensors"


def test_logits_come_back(path: Path) -> None:
    assert torch.equal(load_logits(path, 6, 10), LOGITS)


def test_a_mistake_shows_what_speaks_for_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """The predicted class has its own map, and the actual class has its own."""
    monkeypatch.setattr("src.explanation.examples.grad_cam", evidence_by_class)
    test = Split(np.full((2, 32, 32, 3), 200, np.uint8), np.array([0, 1]))
    normalize = Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu"))
    wrong = np.array([[0.2, 0.8], [0.1, 0.9]], np.float32)
    subject = Subject(Trained(nn.Identity(), normalize, "fp32"), test, ["left", "right"], wrong)
    (mistake,) = mistake_rows(subject, "layer", 5)
    assert (mistake.predicted, mistake.actual) == ("right", "left")
    assert mistake.predicted_probability == pytest.approx(0.8)
    assert mistake.actual_probability == pytest.approx(0.2)
    assert (mistake.predicted_cam == 1).all()
    assert (mistake.actual_cam == 0).all()


def test_each_mistake_and_each_sample_has_its_own_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.explanation.examples.grad_cam", evidence_by_class)
    pixels = np.arange(4, dtype=np.uint8)[:, None, None, None] + np.zeros((32, 32, 3), np.uint8)
    normalize = Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu"))
    said = np.eye(4, dtype=np.float32)[[1, 2, 3, 3]] * 0.5 + 0.1
    said[2] += 0.1  # the most confident
    subject = Subject(
        Trained(nn.Identity(), normalize, "fp32"), Split(pixels, np.arange(4)), list("abcd"), said
    )
    mistakes = mistake_rows(subject, "layer", 5)
    assert [m.image[0, 0, 0] for m in mistakes] == [2, 0, 1]
    assert [(m.predicted, m.predicted_cam[0, 0]) for m in mistakes] == [
        ("d", 3),
        ("b", 1),
        ("c", 2),
    ]
    assert [(m.actual, m.actual_cam[0, 0]) for m in mistakes] == [("c", 2), ("a", 0), ("b", 1)]
    samples = sample_rows(subject, ["one", "two"], 4)
    assert [s.image[0, 0, 0] for s in samples] == [0, 1, 2, 3]
    assert [s.actual + s.predicted for s in samples] == ["ab", "bc", "cd", "dd"]
    assert [[cam[0, 0] for cam in s.cams] for s in samples] == [[1, 1], [2, 2], [3, 3], [3, 3]]


def evidence_by_class(
    _: nn.Module, layers: Sequence[str], images: torch.Tensor, targets: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Give each image a map that is filled with the number of its class."""
    return {name: targets.float().view(-1, 1, 1).expand(-1, *images.shape[2:]) for name in layers}


@pytest.mark.parametrize(("images", "classes"), [(7, 10), (6, 9)])
def test_logits_of_another_test_set_are_refused(path: Path, images: int, classes: int) -> None:
    with pytest.raises(InputError, match=r"holds logits \(6, 10\), not .*dvc repro -f -s evaluate"):
        load_logits(path, images, classes)


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    save_tensors(path, {"weight": LOGITS}, {})
    with pytest.raises(InputError, match="holds logits None"):
        load_logits(path, 6, 10)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_damage_is_refused(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 16
    wrong = {"truncated": path.read_bytes()[:-1], "flipped": content, "empty": b""}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(wrong[damage])
    with pytest.raises(InputError, match=r"logits\.safetensors: .*dvc repro -f -s evaluate"):
        load_logits(path, 6, 10)


def test_samples_are_of_different_classes() -> None:
    labels = np.array([2, 2, 0, 1, 0, 1])
    assert choose_samples(labels, 3) == [2, 3, 0]
    assert choose_samples(labels, 20) == [2, 3, 0, 4, 5, 1]


def test_mistakes_come_most_confident_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]], np.float32)
    assert choose_mistakes(probabilities, np.array([0, 0, 0, 1]), 25) == [2, 1, 3]
    assert choose_mistakes(probabilities, np.array([0, 0, 0, 1]), 1) == [2]
    assert choose_mistakes(probabilities, np.array([0, 1, 1, 0]), 25) == []
