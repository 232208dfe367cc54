"""The weights file is small, comes back whole, repeats byte for byte, and is refused if damaged."""

from pathlib import Path
from typing import Any

import pytest
import torch

from src.data.tensors import load_tensors, save_tensors
from src.network.resnet import build_model
from src.network.weights import load_alone, load_model, load_trained, save_weights
from src.pipeline.errors import InputError

ABOUT = {"arch": "resnet18", "precision": "fp32"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(path, build_model("resnet18", 10), ABOUT)
    return path


def test_weights_are_small_and_come_back(weights: Path) -> None:
    assert weights.stat().st_size < 23e6
    model, metadata = load_model(weights, 10)
    assert metadata == ABOUT
    assert not model.training
    original = build_model("resnet18", 10)
    for name, tensor in original.state_dict().items():
        stored = model.state_dict()[name]
        exact = "bn" in name or "downsample.1" in name
        assert torch.equal(stored, tensor if exact else tensor.half().float()), name


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16"), (False, "fp32")])
def test_what_a_cpu_computes_in_software_is_computed_in_fp32(
    able: bool,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By evaluate and gradcam too: the published network may be of another machine's precision."""
    path = tmp_path / "model.safetensors"
    about = {"arch": "resnet18", "precision": "bf16"}
    save_weights(path, build_model("resnet18", 10), about)
    monkeypatch.setattr("src.device.cpu_computes", lambda _: able)
    assert load_trained(path, 10, [0.5] * 3, [0.2] * 3).precision == expected
    told = capsys.readouterr().out
    assert ("so this computes in fp32" in told) is not able
    assert "train.precision" not in told


def test_same_weights_same_bytes(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_weights(again, build_model("resnet18", 10), ABOUT)
    assert again.read_bytes() == weights.read_bytes()


def test_weights_that_overflow_half_precision_are_refused(tmp_path: Path) -> None:
    model = build_model("resnet18", 10)
    with torch.no_grad():
        model.fc.weight[0, 0] = 1e6
    with pytest.raises(InputError, match="do not fit half precision"):
        save_weights(tmp_path / "model.safetensors", model, ABOUT)
    assert not list(tmp_path.iterdir())


def test_a_network_that_this_code_does_not_know_is_refused(tmp_path: Path) -> None:
    """As of a fork that added one."""
    path = tmp_path / "model.safetensors"
    save_weights(path, build_model("resnet18", 10), {"arch": "convnext"})
    with pytest.raises(InputError, match="is of an unknown architecture"):
        load_model(path, 10)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    state = build_model("resnet18", 10).state_dict()
    state["fc.bias"][3] = torch.nan
    save_tensors(path, state, ABOUT)
    with pytest.raises(InputError, match=r"has weights that are not finite; .*dvc repro -f"):
        load_model(path, 10)


TRAITS = {"classes": ["cat", "dog"], "mean": [0.5] * 3, "std": [0.2] * 3}


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"arch": ["resnet18"]}, "is of an unknown architecture"),
        ({"precision": "int4"}, "is of an unknown precision"),
        ({"precision": None}, "is of an unknown precision"),
        ({"classes": {"cat": 0, "dog": 1}}, "its classes are no list"),
        ({"classes": ["cat", "cat"]}, "names 'cat' twice"),
        ({"classes": [0, 1]}, "class 0 is 0, which is no name in one line"),
        ({"mean": [0.5]}, "its channel statistics are not three numbers each"),
        ({"mean": ["a", "b", "c"]}, "its channel statistics are not three numbers each"),
        ({"std": [0.2, 0, 0.2]}, "green has mean 0.5 and deviation 0: it cannot be normalised"),
    ],
)
def test_what_a_file_says_of_itself_must_make_sense(
    odd: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """Its digest is right, as of a file that somebody has written with care."""
    path = tmp_path / "model.safetensors"
    save_tensors(path, build_model("resnet18", 2).state_dict(), {**ABOUT, **TRAITS, **odd})
    with pytest.raises(InputError, match=f": {said}; name others$"):
        load_alone(path, "name others")


def test_another_class_count_is_refused(weights: Path) -> None:
    with pytest.raises(InputError, match=r"does not fit resnet18 with 7 classes.*fc\.bias"):
        load_model(weights, 7)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "missing"])
def test_damaged_weights_are_refused(damage: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    damaged = {"truncated": content[:-1], "empty": b"", "text": b"hello world, no weights here"}
    if damage != "missing":
        path.write_bytes(damaged.get(damage, content))
    with pytest.raises(InputError, match=r"model\.safetensors: .*dvc repro -f -s train"):
        load_model(path, 10)


def test_what_has_no_deterministic_form_is_computed_all_the_same(weights: Path) -> None:
    """Of a network that was trained with train.deterministic: false; and without a warning."""
    load_trained(weights, 10, [0.5] * 3, [0.2] * 3)
    numbers = torch.zeros(3)
    assert numbers.put_(torch.tensor([1]), torch.ones(1)).tolist() == [0, 1, 0]


def test_every_byte_of_the_file_counts(tmp_path: Path) -> None:
    """A bit that is flipped anywhere, in header, metadata or tensors, is noticed."""
    path = tmp_path / "small.safetensors"
    save_tensors(path, {"x": torch.arange(6.0), "n": torch.tensor(3)}, {"about": [1, "two"]})
    content = path.read_bytes()
    unnoticed = []
    for place in range(len(content)):
        for bit in (1, 32):
            damaged = bytearray(content)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            try:
                tensors, metadata = load_tensors(path, "mend it")
            except InputError:
                continue
            same = torch.equal(tensors["x"], torch.arange(6.0)) and tensors["n"] == 3
            if not (same and metadata == {"about": [1, "two"]}):
                unnoticed.append(place)
    assert not unnoticed
