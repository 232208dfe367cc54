"""SGD's groups: what is decayed, and that all have one rate."""

import sys

import pytest
import torch
from torch import nn

from src.network.resnet import build_model
from src.pipeline.params import Optimizer, Params
from src.training.optimizer import groups, make_optimizer
from tests.conftest import ROOT, run
from tests.tiny import new_run, params

SETTINGS = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}


def test_without_decay_norm_only_kernels_and_the_last_layers_weights_decay() -> None:
    model = build_model("resnet18", 10)
    optimizer = make_optimizer(model, Optimizer(**SETTINGS, decay_norm=False), 0.1)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups
              for p in group["params"]}  # fmt: skip
    small = {"bias"} | {f"bn{place}.weight" for place in (1, 2)} | {"1.weight"}
    for name, parameter in model.named_parameters():
        is_small = any(name.endswith(f".{end}") or name == end for end in small)
        assert decays[id(parameter)] == (0.0 if is_small else 0.1), name


def test_without_decay_norm_no_normalisation_decays_whatever_its_shape() -> None:
    """Where LayerNorm goes over channels, rows and columns, its weights have three dimensions."""
    model = nn.Sequential(nn.LayerNorm([3, 4, 4]), nn.RMSNorm([4, 4]), nn.GroupNorm(1, 3))
    model += nn.Sequential(nn.Flatten(), nn.Linear(48, 10))
    decayed, spared = groups(model, decay_norm=False)
    assert [tuple(p.shape) for p in decayed["params"]] == [(10, 48)]
    assert len(spared["params"]) == 6
    assert spared["weight_decay"] == 0


def test_a_zero_gradient_shows_what_decays() -> None:
    for decay_norm, shrinks in ((True, True), (False, False)):
        model = build_model("resnet18", 10)
        optimizer = make_optimizer(model, Optimizer(**SETTINGS, decay_norm=decay_norm), 0.1)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert bool((model.bn1.weight < 1).all()) == shrinks


def test_all_groups_follow_the_schedule() -> None:
    for schedule in ("plateau", "one_cycle", "cyclic", "cosine"):
        values = params(schedule=schedule, epochs=1).model_dump()
        values["optimizer"]["decay_norm"] = False
        training, seen = new_run(Params.model_validate(values), 0.1), set()
        for images, labels in training.batches():
            training.train_step(images, labels)
            first, second = (group["lr"] for group in training.optimizer.param_groups)
            assert first == second
            seen.add(first)
        assert len(seen) > 1 or schedule == "plateau"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_its_steps_are_torchs_to_the_bit(momentum: float) -> None:
    """With and without momentum, over a step that found_inf skips, and after a new start."""
    settings = Optimizer(
        momentum=momentum, nesterov=momentum > 0, weight_decay=0.1, decay_norm=False
    )
    models = [build_model("resnet18", 10) for _ in range(2)]
    ours = make_optimizer(models[0], settings, 0.1)
    theirs = torch.optim.SGD(
        groups(models[1], False), lr=0.1, momentum=momentum, nesterov=momentum > 0,
        weight_decay=0.1, fused=True,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for optimizer in (ours, theirs):
            optimizer.found_inf = torch.tensor(float(step == 2))  # type: ignore[attr-defined]
            optimizer.step()
            optimizer.zero_grad()
        ours.load_state_dict(ours.state_dict())
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            assert one.grad is None
            assert torch.equal(one, other), step


def test_no_step_loads_torch_compile() -> None:
    code = (
        "import sys, torch; from tests.tiny import new_run, params;"
        "run = new_run(params(schedule='one_cycle'));"
        "[run.train_step(*batch) for batch, _ in zip(run.batches(), range(2))]; run.state();"
        "assert 'torch._dynamo' not in sys.modules"
    )
    run(ROOT, sys.executable, "-c", code)
