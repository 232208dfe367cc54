"""The range test: on torch-lr-finder, without its faults, leaving no trace."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from src.data.dataset import TrainingData
from src.data.normalize import Normalize, resize
from src.lr_range import range_test as lr_find
from src.lr_range.range_test import (
    Found,
    LRFinder,
    Prepared,
    StoppingFinder,
    how_it_ended,
    range_test,
    read_curve,
)
from src.network.resnet import build_model
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from tests.conftest import tiny_data, tiny_values
from tests.tiny import FOUND, NoMemory, TinyNet, new_run, settings

CPU = torch.device("cpu")


def params(**changes: Any) -> Params:
    values = tiny_values()
    values["lr_find"] |= changes
    return Params.model_validate(values)


def searched(
    model: torch.nn.Module, data: TrainingData, wanted: Params, precision: str = "fp32"
) -> Found:
    return range_test(model, data, wanted.lr_find, settings(wanted, precision))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return tiny_data()


def test_the_curve_covers_the_range(data: TrainingData, capsys: pytest.CaptureFixture[str]) -> None:
    result = searched(build_model("resnet18", 10), data, params())
    assert result.lrs[0] == pytest.approx(0.0003)
    ratios = result.lrs[1:] / result.lrs[:-1]
    assert np.allclose(ratios, (1 / 0.0003) ** (1 / 79))
    assert np.isfinite(result.losses).all()
    assert 0 < result.measured["base_lr"] < result.measured["max_lr"]
    assert result.measured.keys() == result.rates.keys() == set(FOUND)
    assert all(0.0003 <= rate <= 1 for rate in result.rates.values())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("range test: ")


def test_fp16_is_searched_with_a_scaled_loss(data: TrainingData) -> None:
    """What `auto` takes on a GPU without bf16: the curve is that of fp32 but for rounding."""
    exact, half = (searched(TinyNet(), data, params(), precision) for precision in ("fp32", "fp16"))
    assert np.allclose(half.losses, exact.losses, rtol=0.02)
    assert half.losses.min() < 0.9 * half.losses[0]


def test_it_begins_with_the_images_that_training_begins_with(data: TrainingData) -> None:
    seen: list[torch.Tensor] = []

    class Seeing(TinyNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return super().forward(images)

    wanted = params(num_iter=20)
    searched(Seeing(), data, wanted)
    images, _ = next(iter(new_run(wanted).batches()))
    normalized = Normalize(data.mean, data.std, CPU)(images)
    torch.testing.assert_close(seen[0], resize(normalized, wanted.train.resolution[0]))


def test_a_step_too_large_for_the_memory_is_named(data: TrainingData) -> None:
    with pytest.raises(InputError, match=r"train\.batch_size: a step of 32 images does not fit"):
        searched(NoMemory(), data, params())


def test_a_validation_too_large_for_the_memory_is_named(data: TrainingData) -> None:
    """Not as a step, whose batch size would not help."""

    class FullInEvaluation(TinyNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) if self.training else NoMemory()(images)

    with pytest.raises(InputError, match=r"^the range test's validation on 500 images at a time"):
        searched(FullInEvaluation(), data, params(mode="linear"))


def test_nothing_is_left_behind(data: TrainingData) -> None:
    """Model, mode and the global random states are as they were."""
    model = build_model("resnet18", 10)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(3)
    np.random.seed(3)
    searched(model, data, params())
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.training


def test_linear_uses_the_validation_loss(data: TrainingData) -> None:
    assert data.validation is not None
    held_out = {image.tobytes() for image in data.validation.images}

    def told(images: TensorDataset) -> float:
        assert {image.numpy().tobytes() for image in images.tensors[0]} <= held_out
        return float(len(images))

    linear = {"start_lr": 0.0001, "end_lr": 0.005, "val_images": 20}
    wanted = params(mode="linear", num_iter=20, linear=linear)
    curves = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lr_find, "read_curve", lambda lrs, losses, _: curves.append((lrs, losses)))
        # A loss that says how many images of which split it was read on.
        patch.setattr(StoppingFinder, "_validate", lambda _, images, **__: told(images.dataset))
        searched(build_model("resnet18", 10), data, wanted)
    ((lrs, losses),) = curves
    assert np.allclose(np.diff(lrs), (0.005 - 0.0001) / 19)
    assert lrs[-1] == pytest.approx(0.005)
    assert losses == [20.0] * 20


def test_validation_is_under_autocast_too(data: TrainingData) -> None:
    """torch-lr-finder's own autocast is for training batches only."""
    layer = torch.nn.Linear(3 * 16 * 16, 10)
    seen = []
    layer.register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    network = torch.nn.Sequential(torch.nn.Flatten(), layer)
    normalize = Normalize(data.mean, data.std, CPU)
    prepared = Prepared(network, normalize, "bf16", 16).eval()
    logits = prepared(torch.from_numpy(data.train.images[:2]))
    assert seen == [torch.bfloat16]
    assert logits.dtype == torch.float32


def test_it_stops_where_the_loss_is_not_finite(data: TrainingData) -> None:
    """torch-lr-finder's own rule compares NaN with "greater than" and goes on to the end."""
    model, wanted = build_model("resnet18", 10), params(num_iter=30)
    steps = []

    class Blowing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            steps.append(1)
            pooled = images.float().mean((1, 2, 3))[:, None] / 255 * self.model.fc.weight[:, 0]
            return pooled * (math.nan if len(steps) > 12 else 1.0)

    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.001)
    finder = StoppingFinder(Blowing(), optimizer, torch.nn.CrossEntropyLoss(), device=CPU)
    loader = lr_find.training_loader(data.train, 30, settings(wanted))
    finder.range_test(loader, end_lr=0.01, num_iter=30, smooth_f=0)
    assert len(finder.history["loss"]) == 13
    assert math.isnan(finder.history["loss"][-1])


FALL = [*np.linspace(2.3, 0.2, 40)]


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([*FALL, 1.5, *[0.2] * 19], 60),  # 7 times the lowest, and nothing but a noisy batch
        ([*FALL, 1.5, 4.0, 12.0, *[20.0] * 17], 43),
        ([*FALL, 1.5, 2.0, 3.0, 4.0, 5.0, *[6.0] * 15], 45),
    ],
    ids=["noise", "sudden", "gradual"],
)
def test_a_noisy_batch_does_not_end_it_and_a_blow_up_does(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch, losses: list[float], steps: int
) -> None:
    told, train_batch = iter(losses), LRFinder._train_batch

    def tell(*arguments: Any, **named: Any) -> float:
        train_batch(*arguments, **named)
        return next(told)

    monkeypatch.setattr(LRFinder, "_train_batch", tell)
    curves = []
    monkeypatch.setattr(lr_find, "read_curve", lambda lrs, losses, _: curves.append((lrs, losses)))
    searched(TinyNet(), data, params(num_iter=60))
    ((lrs, recorded),) = curves
    assert recorded == losses[:steps]
    assert len(lrs) == steps


def test_where_and_why_it_ended_is_said() -> None:
    lrs = np.geomspace(0.0003, 1, 40).tolist()
    find = params().lr_find
    assert how_it_ended(lrs, [2.3] * 40, find) == (
        "range test: reached lr_find.exponential.end_lr, 1, in 40 steps"
    )
    linear = params(mode="linear").lr_find
    assert "lr_find.linear.end_lr" in how_it_ended(lrs, [2.3] * 40, linear)
    for last in (12.0, math.nan):
        assert how_it_ended(lrs[:12], [2.3] * 11 + [last], find) == (
            "range test: the loss blew up at 0.00296, after 12 of 80 steps"
        )


def test_a_curve_that_is_cut_off_names_the_parameter_of_its_form() -> None:
    lrs = np.linspace(0.0001, 0.35, 100)
    losses = 2.3 - 3 * lrs
    found = read_curve(lrs.tolist(), losses.tolist(), params(mode="linear").lr_find)
    assert (found.measured, found.rates) == ({}, {})
    assert found.fault == (
        "the loss is still falling at 0.35; raise lr_find.linear.end_lr (params.yaml)"
    )
    assert found.losses.tolist() == losses.tolist()


def test_a_nan_never_reaches_the_suggestion() -> None:
    lrs = np.geomspace(1e-4, 10, 100)
    clean = 2.3 - 1.2 / (1 + np.exp(-4 * (np.log10(lrs) + 2)))
    losses = np.where(lrs > 0.5, np.nan, clean)
    result = read_curve(lrs.tolist(), losses.tolist(), params().lr_find)
    assert np.isfinite(result.losses).all()
    assert result.measured.keys() == result.rates.keys() == set(FOUND)
    assert all(math.isfinite(rate) for rate in result.measured.values())
    assert set(result.rates.values()) <= {
        float(f"{m}e{k}") for m in (1, 2, 5) for k in range(-4, 1)
    }


def test_a_useless_range_tells_no_rate(data: TrainingData) -> None:
    wanted = params(exponential={"start_lr": 1e-9, "end_lr": 1e-8}, num_iter=20)
    found = searched(TinyNet(), data, wanted)
    assert found.rates == {}
    assert found.fault.startswith("the loss is flat: ")
    assert len(found.losses) == 20
