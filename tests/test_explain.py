"""Evaluate's logits: damaged or another's, they are refused with what to run."""

from pathlib import Path

import pytest
import torch

from src.errors import InputError
from src.explain import load_logits
from src.tensors import save_tensors

LOGITS = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_tensors(tmp_path / "logits.safetensors", {"logits": LOGITS}, {})
    return tmp_path / "logits.safetensors"


def test_logits_come_back(path: Path) -> None:
    assert torch.equal(load_logits(path, 6, 10), LOGITS)


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
