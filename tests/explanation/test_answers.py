"""Evaluate's answers come back as it wrote them, and what is not fit is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.tensors import save_tensors
from src.explanation.answers import Answers, check_network, load_answers
from src.pipeline.errors import InputError

LOGITS = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    about = {"temperature": 0.5, "weights": "digest"}
    save_tensors(tmp_path / "logits.safetensors", {"logits": LOGITS}, about)
    return tmp_path / "logits.safetensors"


def test_logits_come_back(path: Path) -> None:
    answers = load_answers(path, 6, 10)
    assert torch.equal(answers.logits, LOGITS)
    assert (answers.temperature, answers.weights) == (0.5, "digest")


def test_those_of_an_older_version_name_no_temperature_and_no_network(path: Path) -> None:
    save_tensors(path, {"logits": LOGITS}, {})
    answers = load_answers(path, 6, 10)
    assert (answers.temperature, answers.weights) == (None, None)
    assert np.allclose(answers.probabilities, LOGITS.softmax(1))
    check_network(answers, path, path)


def test_probabilities_are_after_temperature_scaling() -> None:
    """Odds of 81 to 1 become 9 to 1 at a temperature of 2."""
    answers = Answers(torch.tensor([[0.0, math.log(81)]]), 2.0)
    assert answers.probabilities == pytest.approx(np.array([[0.1, 0.9]]))


def test_very_sure_answers_keep_their_order() -> None:
    """In fp32 both probabilities would be exactly 1."""
    surer, sure = Answers(torch.tensor([[30.0, 0], [20, 0]])).probabilities.max(1)
    assert surer > sure


@pytest.mark.parametrize(("images", "classes"), [(7, 10), (6, 9)])
def test_logits_of_another_test_set_are_refused(path: Path, images: int, classes: int) -> None:
    with pytest.raises(InputError, match=r"holds logits \(6, 10\), not .*dvc repro -f -s evaluate"):
        load_answers(path, images, classes)


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    save_tensors(path, {"weight": LOGITS}, {})
    with pytest.raises(InputError, match="holds logits None"):
        load_answers(path, 6, 10)


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
        load_answers(path, 6, 10)
