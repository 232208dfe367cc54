"""build_model gives exactly the CIFAR ResNets, and any other network that the table names."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm
from torchvision.models import mobilenet_v3_small

from src.network.conv import Conv2d
from src.network.resnet import ARCHITECTURES, Linear, build_model
from src.network.summary import count_parameters, summary
from src.network.weights import load_model, save_weights
from src.pipeline.errors import InputError


def test_resnet18_has_11173962_parameters() -> None:
    assert count_parameters(build_model("resnet18", 10)) == 11_173_962


@pytest.mark.parametrize(("arch", "millions"), [("resnet34", 21.28), ("resnet50", 23.52)])
def test_deeper_networks(arch: str, millions: float) -> None:
    assert count_parameters(build_model(arch, 10)) / 1e6 == pytest.approx(millions, abs=0.01)


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


@pytest.mark.parametrize("training", [True, False])
def test_logits_are_not_rounded_to_half_precision(training: bool) -> None:
    """Rounded to bf16, near classes tie and the lower index wins."""
    model = build_model("resnet18", 10).train(training)
    seen: list[torch.Tensor] = []
    model.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    (features,) = seen
    assert features.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    exact = features.float() @ model.fc.weight.T + model.fc.bias
    assert torch.allclose(logits, exact, atol=1e-6)
    assert not torch.equal(logits, logits.bfloat16().float())
    logits.sum().backward()
    assert model.fc.weight.grad is not None
    assert model.fc.weight.grad.dtype == torch.float32


def test_two_classes_that_bf16_cannot_tell_apart() -> None:
    model = build_model("resnet18", 2).eval()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.copy_(torch.tensor([100.0, 100.1]))
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.zeros(1, 3, 32, 32)).argmax(1).item() == 1


def test_an_unknown_network_is_named_beside_those_that_there_are() -> None:
    # One may be added behind them, as docs/yours.md does.
    known = r"is not one of resnet18, resnet34, resnet50(, \w+)*"
    with pytest.raises(InputError, match=rf"^model\.arch: 'vgg' {known} \(params\.yaml\)$"):
        build_model("vgg", 10)


class Indexed(nn.Module):
    """Nothing like a ResNet: bias, groups, layer norm, attention, a table of whole numbers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, stride=8)
        self.mixed = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, classes)
        self.scale = nn.Parameter(torch.ones(16))
        self.register_buffer("order", torch.arange(4001, 4017))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.mixed(self.stem(images)).flatten(2).transpose(1, 2))
        tokens = self.attention(tokens, tokens, tokens)[0] * self.scale
        return self.head(tokens[:, self.order - 4001].mean(1))


class Tuple(nn.Module):
    """As networks that also return features, some of them in training alone (GoogLeNet)."""

    def __init__(self, classes: int, always: bool) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, classes)
        self.always = always

    def forward(self, images: torch.Tensor) -> Any:
        logits = self.fc(self.norm(images).mean((2, 3)))
        return (logits, None) if self.always or self.training else logits


@pytest.mark.parametrize(("always", "when"), [(True, ""), (False, " in training")])
def test_a_network_that_returns_no_tensor_is_refused(
    always: bool, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tuple", partial(Tuple, always=always))
    said = rf"^model\.arch: tuple gives images a tuple{when}, not a tensor of logits"
    with pytest.raises(InputError, match=said):
        build_model("tuple", 10)


class Puts(Tuple):
    """With an operation that has no deterministic form, and weights that no copy can be made of."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, always=False)
        self.norm = weight_norm(nn.Conv2d(3, 3, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(images).mean((2, 3))
        return self.fc(features.put_(torch.tensor([0]), torch.zeros(1)))


# The older weight_norm, which keeps its product as a plain attribute.
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_what_the_first_step_refuses_is_no_matter_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "puts", Puts)
    torch.set_deterministic_debug_mode("error")
    build_model("puts", 10)
    assert torch.get_deterministic_debug_mode() == 2


class Noisy(nn.Module):
    """Batch norm before dropout; its `train` forgets to return the network."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm, self.drop, self.fc = nn.BatchNorm2d(3), nn.Dropout(), nn.Linear(3, classes)

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(self.norm(images).mean((2, 3))))


def test_the_check_of_a_network_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its statistics nor in the draws that follow."""
    monkeypatch.setitem(ARCHITECTURES, "noisy", Noisy)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    model = build_model("noisy", 10)
    assert torch.equal(torch.rand(1), expected)
    assert model.training
    assert model.norm.num_batches_tracked == 0
    assert summary(model).count("BatchNorm2d") == 1


class Lazy(nn.Module):
    """Its layers learn how many inputs they have from the first images."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()
        self.fc = nn.LazyLinear(classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.conv(images)).mean((2, 3)))


@pytest.mark.parametrize("state", [1, 2])
def test_layers_that_draw_late_draw_by_the_seed(
    state: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the process has drawn, and without a trace in what it draws next."""
    monkeypatch.setitem(ARCHITECTURES, "lazy", Lazy)
    torch.manual_seed(state)
    expected = torch.rand(1)
    torch.manual_seed(state)
    model = build_model("lazy", 10, seed=5)
    assert torch.equal(torch.rand(1), expected)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        same = Lazy(10).eval()
        same(torch.zeros(2, 3, 32, 32))
    for name, tensor in same.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert model.training
    assert model.norm.num_batches_tracked == 0
    assert type(model.fc) is Linear
    assert not torch.equal(build_model("lazy", 10, seed=6).fc.weight, model.fc.weight)


OTHERS = {
    "mobilenet": lambda classes: mobilenet_v3_small(num_classes=classes),
    "indexed": Indexed,
}


@pytest.mark.parametrize("arch", OTHERS)
def test_any_module_can_be_the_network(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is initialised by the seed, ends in fp32, is summed up, stored and read again."""
    monkeypatch.setitem(ARCHITECTURES, arch, OTHERS[arch])
    model = build_model(arch, 7, seed=5)
    assert [type(m) for m in model.modules() if isinstance(m, nn.Linear)][-1] is Linear
    assert sum(isinstance(m, Linear) for m in model.modules()) == 1
    same = build_model(arch, 7, seed=5).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in model.state_dict().items())
    assert f"Total parameters: {count_parameters(model):,}" in summary(model)
    path = tmp_path / "model.safetensors"
    save_weights(path, model, {"arch": arch, "precision": "fp32"})
    again = load_model(path, 7)[0].state_dict()
    for name, tensor in model.state_dict().items():
        # Half precision keeps 11 bits of a number, but would not keep 4001.
        rtol = 2**-11 if tensor.is_floating_point() else 0
        assert torch.allclose(again[name].double(), tensor.double(), rtol, 1e-7), name


def test_the_faster_convolutions_leave_another_network_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that they can serve are replaced; the gradients stay what torch gives."""
    monkeypatch.setitem(ARCHITECTURES, "mobilenet", OTHERS["mobilenet"])
    model, images = build_model("mobilenet", 7), torch.rand(4, 3, 32, 32)
    replaced = [module for module in model.modules() if isinstance(module, Conv2d)]
    assert replaced
    results = []
    for _ in range(2):
        model.zero_grad()
        torch.manual_seed(0)
        logits = model.train()(images)
        logits.logsumexp(1).sum().backward()
        results.append([logits, *(p.grad for p in model.parameters())])
        for module in replaced:
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    for with_products, without in zip(*results, strict=True):
        assert torch.allclose(with_products, without, rtol=1e-3, atol=1e-4)


def test_a_network_that_ignores_the_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "mine", lambda _: Indexed(1000))
    with pytest.raises(
        InputError, match=r"mine gives two images \(2, 1000\) numbers, not \(2, 7\)"
    ):
        build_model("mine", 7)
