"""Exactly the CIFAR ResNet-18, its summary and its weights file."""

from pathlib import Path

import pytest
import torch

from src.network.resnet import (
    build_model,
    count_parameters,
    load_model,
    save_weights,
    summary,
    summary_rows,
)
from src.pipeline.errors import InputError


def test_resnet18_has_11173962_parameters() -> None:
    assert count_parameters(build_model("resnet18", 10)) == 11_173_962


@pytest.mark.parametrize(("arch", "millions"), [("resnet34", 21.28), ("resnet50", 23.52)])
def test_deeper_networks(arch: str, millions: float) -> None:
    assert count_parameters(build_model(arch, 10)) / 1e6 == pytest.approx(millions, abs=0.01)


def test_summary_has_the_49_rows() -> None:
    rows = summary_rows(build_model("resnet18", 10))
    kinds = [name.split("-")[0] for name, *_ in rows]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Conv2d": 20,
        "BatchNorm2d": 20,
        "BasicBlock": 8,
        "Linear": 1,
    }
    assert rows[0] == ("Conv2d-1", (64, 32, 32), 1_728)
    assert rows[-2][1:] == ((512, 4, 4), 0)
    assert rows[-1] == ("Linear-49", (10,), 5_130)
    assert sum(parameters for *_, parameters in rows) == 11_173_962


def test_summary_footer() -> None:
    text = summary(build_model("resnet18", 10))
    for line in (
        "Total parameters: 11,173,962",
        "Input size (MB): 0.01",
        "Forward/backward pass size (MB): 11.25",
        "Parameters size (MB): 42.63",
        "Estimated total size (MB): 53.89",
    ):
        assert line in text.splitlines()


def test_summary_leaves_the_model_as_it_was() -> None:
    model = build_model("resnet18", 10).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summary(model)
    assert model.training
    assert not model.layer1._forward_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_initialisation_rests_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = build_model("resnet18", 10, seed=3).state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = build_model("resnet18", 10, seed=3).state_dict()
    other = build_model("resnet18", 10, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(path, build_model("resnet18", 10), {"arch": "resnet18"})
    return path


def test_weights_are_small_and_come_back(weights: Path) -> None:
    assert weights.stat().st_size < 23e6
    model, metadata = load_model(weights, 10)
    assert metadata == {"arch": "resnet18"}
    assert not model.training
    original = build_model("resnet18", 10)
    for name, tensor in original.state_dict().items():
        stored = model.state_dict()[name]
        exact = "bn" in name or "downsample.1" in name
        assert torch.equal(stored, tensor if exact else tensor.half().float()), name


def test_same_weights_same_bytes(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_weights(again, build_model("resnet18", 10), {"arch": "resnet18"})
    assert again.read_bytes() == weights.read_bytes()


def test_weights_that_overflow_half_precision_are_refused(tmp_path: Path) -> None:
    model = build_model("resnet18", 10)
    with torch.no_grad():
        model.fc.weight[0, 0] = 1e6
    with pytest.raises(InputError, match="do not fit half precision"):
        save_weights(tmp_path / "model.safetensors", model, {"arch": "resnet18"})
    assert not list(tmp_path.iterdir())


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


def test_every_byte_of_the_file_counts(tmp_path: Path) -> None:
    """A bit flipped anywhere is noticed: in the header, the metadata, the tensors."""
    from src.data.tensors import load_tensors, save_tensors

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
