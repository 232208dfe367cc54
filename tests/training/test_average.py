"""The mean of the weights: by its formula, and as the network that training returns."""

import copy
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm

from src.data.normalize import resize
from src.training.average import Average, statistics_rows
from src.training.run import Run
from tests.conftest import tiny_data
from tests.tiny import TinyNet, new_run, params, rates, settings, train

DECAY = 0.8


def test_it_is_the_weighted_mean_of_all_steps() -> None:
    """The initial network is not in it; of fewer than 50 steps it covers about the last tenth."""
    model = TinyNet()
    average, states = Average(model, DECAY), []
    for step in range(60):
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.normal_(generator=torch.Generator().manual_seed(step))
        average.update(torch.tensor(step))
        states.append(copy.deepcopy(dict(model.named_parameters())))
    shares = [max(0.2, 10 / (10 + step)) for step in range(60)]
    weights = [share * prod(1 - s for s in shares[step + 1 :]) for step, share in enumerate(shares)]
    assert sum(weights) == pytest.approx(1)
    assert weights[58] == pytest.approx(DECAY * weights[59])
    for name, mean in average.model.named_parameters():
        expected = sum(w * state[name] for w, state in zip(weights, states, strict=True))
        torch.testing.assert_close(mean, expected.detach())


def test_a_short_training_does_not_end_with_a_mean_of_its_first_steps() -> None:
    """200 steps, of which a decay of 0.998 alone would weigh the first as much as the last."""
    weight = nn.Linear(1, 1, bias=False)
    average = Average(weight, 0.998)
    for step in range(200):
        weight.weight.data.fill_(step)
        average.update(torch.tensor(step))
    assert average.model.weight.item() == pytest.approx(200 * 10 / 11, rel=0.01)


@pytest.mark.parametrize("side", [16, 32])
def test_its_statistics_are_those_of_its_own_activations(side: int) -> None:
    """Not the mean of the steps' statistics; and over images that are not augmented."""
    run = new_run(params(epochs=1, average={"decay": 0.999}), lr=1.0)
    run.model.bn.running_mean.fill_(100.0)
    for images, labels in run.batches():
        run.train_step(images, labels)
    assert run.average is not None
    train = tiny_data().train
    run.average.complete(train, run.normalize, "fp32", side, lambda: None)
    mean = run.average.model
    inputs = resize(run.normalize(torch.from_numpy(train.images)), side)
    activations = mean.conv1(inputs).transpose(0, 1).flatten(1)
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    close(mean.bn.running_mean, activations.mean(1))
    close(mean.bn.running_var, activations.var(1))
    assert mean.bn.momentum == 0.1


class KeepsStatistics(nn.BatchNorm2d):
    """Frozen by its own forward, as torchvision's FrozenBatchNorm2d."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.running_mean is not None
        return batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias)


class Frozen(TinyNet):
    """A network that counts its passes, and has batch norm that is not trained beside its own."""

    passes: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.tensor(0))
        self.by_mode, self.by_forward = nn.BatchNorm2d(8), KeepsStatistics(8)
        self.unused = nn.BatchNorm2d(8)

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.by_mode.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        features = self.by_forward(self.by_mode(self.bn(self.conv1(images))))
        return self.fc(features.relu().mean((2, 3)))


def test_other_buffers_become_the_networks_own() -> None:
    """Also the statistics of layers that are never trained, which would be lost."""
    model, how = Frozen(), new_run(params()).normalize
    average = Average(model, DECAY)
    model.passes.fill_(7)
    for layer in (model.by_mode, model.by_forward, model.unused):
        layer.running_mean.fill_(0.3)
        layer.running_var.fill_(2.0)
    before = copy.deepcopy(dict(model.named_buffers()))
    average.complete(tiny_data().train, how, "fp32", 32, lambda: None)
    for name, buffer in average.model.named_buffers():
        assert torch.equal(buffer, before[name]) is not name.startswith("bn."), name
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name


class Counting(nn.Module):
    """A network that assigns a buffer anew, as a norm written by hand may."""

    running: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.fc = nn.BatchNorm2d(3), nn.Linear(3, 10)
        self.register_buffer("running", torch.zeros(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = self.bn(images).mean((2, 3))
        if self.training:
            self.running = 0.9 * self.running + 0.1
        return self.fc(means)


def test_a_buffer_that_is_assigned_anew_is_the_networks_own() -> None:
    model, how = Counting(), new_run(params()).normalize
    average = Average(model, DECAY)
    for _ in range(2):
        model(torch.zeros(2, 3, 32, 32))
        average.complete(tiny_data().train, how, "fp32", 32, lambda: None)
        assert torch.equal(average.model.running, model.running)
    assert model.running[0] == pytest.approx(0.19)


class TwoNorms(nn.Module):
    """A batch norm that training does not change, and one behind it that learns."""

    def __init__(self, *, evaluates: bool) -> None:
        super().__init__()
        self.evaluates = evaluates
        self.kept = nn.BatchNorm2d(3, momentum=None if evaluates else 0.0)
        self.learns = nn.BatchNorm2d(3)

    def train(self, mode: bool = True) -> "TwoNorms":
        super().train(mode)
        if self.evaluates:
            self.kept.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.learns(self.kept(images))


@pytest.mark.parametrize("evaluates", [True, False])
def test_a_layer_behind_a_frozen_one_sees_what_that_gives(evaluates: bool) -> None:
    """In training: with a momentum of 0 it normalises by the batch, and keeps its statistics."""
    model, how, train = (
        TwoNorms(evaluates=evaluates),
        new_run(params()).normalize,
        tiny_data().train,
    )
    average = Average(model, DECAY)
    model.kept.running_mean.fill_(5.0)
    model.kept.running_var.fill_(4.0)
    average.complete(train, how, "fp32", 32, lambda: None)
    mean = average.model
    assert torch.equal(mean.kept.running_mean, model.kept.running_mean)
    assert torch.equal(mean.kept.running_var, model.kept.running_var)
    mean.train()
    given = mean.kept(how(torch.from_numpy(train.images))).transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean.learns.running_mean, given.mean(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mean.learns.running_var, given.var(1), rtol=1e-4, atol=1e-4)
    assert [mean.kept.momentum, mean.learns.momentum] == [model.kept.momentum, 0.1]


def test_taking_its_statistics_can_be_stopped() -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    how = new_run(params()).normalize
    with pytest.raises(Stopped):
        Average(TinyNet(), DECAY).complete(tiny_data().train, how, "fp32", 32, stop)


@pytest.mark.parametrize(("images", "used"), [(3, 3), (500, 500), (1234, 1000), (9000, 4000)])
def test_no_batch_of_few_images_counts_as_much_as_the_others(images: int, used: int) -> None:
    rows = statistics_rows(images)
    assert len(set(rows.tolist())) == used
    assert set(rows) <= set(range(images))


def test_a_data_set_that_is_sorted_by_class_does_not_matter() -> None:
    halves = [np.mean(batch < 25_000) for batch in statistics_rows(50_000).reshape(-1, 500)]
    assert all(0.4 < half < 0.6 for half in halves)


def test_an_epoch_ends_with_the_statistics_of_its_size() -> None:
    run = new_run(params(epochs=2, resolution=[16, 32], average={"decay": DECAY}))
    seen: list[tuple[bool, int]] = []
    run.result.register_forward_pre_hook(
        lambda model, inputs: seen.append((model.training, inputs[0].shape[-1]))
    )
    for images, labels in run.batches():
        run.train_step(images, labels)
        if run.epoch_is_full():
            run.end_epoch(lambda: None)
    assert seen == [(True, 16), (False, 16), (True, 32), (False, 32)]


def test_statistics_of_a_network_that_draws_are_keyed() -> None:
    """A run that was stopped in its validation takes them again, after other draws."""
    wanted, found = params(epochs=1, average={"decay": DECAY}), []
    for draws in (0, 3):
        model = nn.Sequential(nn.Dropout(0.5), TinyNet())
        run = Run(model, tiny_data(), settings(wanted), rates(wanted))
        for images, labels in run.batches():
            run.train_step(images, labels)
        torch.rand(draws)
        found.append(run.end_epoch(lambda: None))
    assert found[0] == found[1]


def test_a_slow_mean_begins_with_the_first_step() -> None:
    """In fp32 1 - 0.99999^1 has few digits, if it is computed as written."""
    model = TinyNet()
    average = Average(model, 0.99999)
    with torch.no_grad():
        model.fc.weight.fill_(3.0)
    average.update(torch.tensor(0))
    torch.testing.assert_close(average.model.fc.weight, model.fc.weight)


def test_training_validates_and_returns_the_mean(tmp_path: Path) -> None:
    wanted = params(epochs=2, schedule="cosine", average={"decay": DECAY})
    history, model = train(tmp_path, wanted)
    run = new_run(wanted)
    rows = []
    for images, labels in run.batches():
        run.train_step(images, labels)
        if run.epoch_is_full():
            rows.append(run.end_epoch(lambda: None))
    assert history == rows
    mean, last = run.result.state_dict(), run.model.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, mean[name]), name
    assert not torch.equal(mean["fc.weight"], last["fc.weight"])
    plain, _ = train(tmp_path / "plain", params(epochs=2, schedule="cosine"))
    assert plain[-1]["train_loss"] == history[-1]["train_loss"], "the steps are the same"
    assert plain[-1]["val_loss"] != history[-1]["val_loss"]


def test_a_finished_run_returns_the_mean_again(tmp_path: Path) -> None:
    """As when DVC failed to record it and the stage runs again from its state."""
    wanted = params(epochs=1, schedule="cosine", average={"decay": DECAY})
    (_, first), (_, again) = train(tmp_path, wanted), train(tmp_path, wanted)
    assert again.steps == 0
    assert torch.equal(first.fc.weight, again.fc.weight)


def test_the_mean_needs_no_gradients() -> None:
    """Nor do its updates keep the steps that they took in."""
    average = Average(TinyNet(), DECAY)
    assert not any(p.requires_grad for p in average.model.parameters())
    average.update(torch.tensor(0))
    assert not any(p.requires_grad for p in average.model.parameters())
