"""A run does, step by step and epoch by epoch, what its parameters say."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from src.data.augment import Augment
from src.data.batches import BatchKeys
from src.device import set_deterministic
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from src.training.checkpoint import Checkpoint
from src.training.run import Run
from tests.conftest import tiny_data
from tests.tiny import DECISIVE, TinyNet, new_run, params, plateau, rates, settings


def test_training_sees_the_augmented_images() -> None:
    data, wanted = tiny_data(), params()
    images, labels = next(iter(new_run(wanted).batches()))
    ((*keys,),) = BatchKeys(len(data.train), 16, wanted.seed, 0, 1)
    augment = Augment(wanted.augment, wanted.seed)
    drawn = np.stack([augment(data.train.images[index], epoch, index) for epoch, index in keys])
    rows = [index for _, index in keys]
    assert (images.numpy() == drawn).all()
    assert (labels.numpy() == data.train.labels[rows]).all()
    assert (drawn != data.train.images[rows]).any()


def test_an_epochs_row_counts_its_steps_and_validates_at_their_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = new_run(params(epochs=2, resolution=[16, 32]))
    seen: list[tuple[bool, int, torch.Tensor]] = []
    run.model.register_forward_hook(
        lambda model, inputs, logits: seen.append((model.training, inputs[0].shape[-1], logits))
    )
    given: list[float] = []
    monkeypatch.setattr(run.scheduler, "step", given.append)
    right, rows = 0, []
    for images, labels in run.batches():
        run.train_step(images, labels)
        right += int((seen[-1][2].argmax(1) == labels).sum())
        if run.epoch_is_full():
            rows.append(run.end_epoch(lambda: None))
            assert rows[-1]["train_accuracy"] == pytest.approx(right / 160)
            right = 0
    assert [row["epoch"] for row in rows] == [1, 2]
    assert given == [row["val_loss"] for row in rows], "the plateau goes by the validation loss"
    assert {(training, side) for training, side, _ in seen[:11]} == {(True, 16), (False, 16)}
    assert {(training, side) for training, side, _ in seen[11:]} == {(True, 32), (False, 32)}


def test_plateau_compares_losses_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first loss at a larger size is no stall, however high; the next one may be."""
    losses = iter([(1.0, 0.5), (0.9, 0.5), (2.0, 0.5), (2.0, 0.5)])
    monkeypatch.setattr("src.training.run.validate", lambda *_: next(losses))
    falling = plateau(factor=0.5, patience=0)
    run = new_run(params(epochs=4, resolution=[16, 32], plateau=falling))
    advance(run, 4 * run.per_epoch)
    assert [row["lr"] for row in run.history] == [0.05] * 4
    assert run.lr == 0.025


def test_a_validation_loss_that_is_not_finite_is_said_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No loss or gradient of a step was: those are looked at before."""
    monkeypatch.setattr("src.training.run.validate", lambda *_: (math.inf, 0.1))
    run = new_run(params())
    said = r"^training diverged: the validation loss was not finite after epoch 1, near learning"
    with pytest.raises(InputError, match=said):
        advance(run, run.per_epoch)


def test_each_size_needs_a_step() -> None:
    with pytest.raises(InputError, match=r"^train.resolution: 3 sizes are too many for 2 steps"):
        new_run(params(epochs=1, batch_size=80, resolution=[16, 24, 32]))
    # Of no step at all the batch is the reason, however many sizes there are.
    with pytest.raises(InputError, match=r"^train\.batch_size: 4000 is more than the"):
        new_run(params(epochs=1, batch_size=4000, resolution=[16, 24, 32]))


def advance(run: Run, steps: int) -> None:
    for images, labels in itertools.islice(run.batches(), steps):
        run.train_step(images, labels)
        if run.epoch_is_full():
            run.end_epoch(lambda: None)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("schedule", ["plateau", "one_cycle", "cyclic", "cosine"])
def test_a_restored_run_ends_as_one_that_went_on(
    schedule: str, precision: str, tmp_path: Path
) -> None:
    """Weights, rates and rows, to the bit; the plateau after it has dropped the rate."""
    dropping = plateau(factor=0.5, patience=0, cooldown=1)
    wanted = params(epochs=4, schedule=schedule, plateau=dropping)
    ends_alike(wanted, precision, tmp_path)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_so_does_one_that_mixes_averages_and_decays_in_groups(kind: str, tmp_path: Path) -> None:
    values = params(epochs=4, schedule="cosine", average={"decay": 0.9}).model_dump()
    values["train"] |= {"mix": {"kind": kind, "alpha": 1.0}, "resolution": [16, 32]}
    values["optimizer"]["decay_norm"] = False
    ends_alike(Params.model_validate(values), "fp32", tmp_path)


def ends_alike(wanted: Params, precision: str, tmp_path: Path) -> None:
    def new() -> Run:
        return new_run(wanted, 1.0, precision)

    whole = new()
    advance(whole, 40)
    first, checkpoint = new(), Checkpoint(tmp_path, DECISIVE, 0)
    advance(first, 24)
    checkpoint.save(first.state())
    state = checkpoint.load()
    assert state is not None
    second = new()
    second.restore(state)
    assert second.step == 24
    advance(second, 16)
    assert second.history == whole.history
    assert second.lr == whole.lr
    assert second.compute.scaler.state_dict() == whole.compute.scaler.state_dict()
    assert len({row["lr"] for row in whole.history}) > 1
    for ours, theirs in ((whole.model, second.model), (whole.result, second.result)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


def test_a_network_that_draws_is_restored_to_the_bit() -> None:
    """Dropout draws by seed and step, whatever was drawn before."""
    wanted = params(epochs=1)

    def new(seed: int = 0) -> Run:
        model = nn.Sequential(TinyNet(), nn.Dropout(0.5))
        how = replace(settings(wanted), seed=seed)
        return Run(model, tiny_data(), how, rates(wanted, 0.1))

    whole, first, second, other = new(), new(), new(), new(seed=1)
    advance(whole, 6)
    advance(first, 4)
    second.restore(first.state())
    torch.rand(3)
    advance(second, 2)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    kept = []
    for run in (new(), new(), other):
        run.model[1].register_forward_hook(lambda *given: kept.append(given[-1] == 0))
        advance(run, 2)
    assert torch.equal(kept[0], kept[2])
    assert not torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[4])


def test_a_step_too_large_for_the_memory_is_named() -> None:
    run = new_run(params())

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    run.device_step = full
    (images, labels), *_ = run.batches()
    with pytest.raises(InputError, match=r"train\.batch_size: a step of 16 images does not fit"):
        run.train_step(images, labels)


def test_a_layer_without_a_deterministic_form_is_named() -> None:
    """As adaptive pooling to several pixels is on a GPU; on a CPU put_ is such an operation."""
    run = new_run(params())
    run.model.fc.register_forward_hook(
        lambda *words: words[-1].put_(torch.tensor([0]), torch.zeros(1))
    )
    (images, labels), *_ = run.batches()
    set_deterministic(True)
    with pytest.raises(InputError, match=r"^train\.deterministic: the network needs put_, which"):
        run.train_step(images, labels)
    set_deterministic(False)
    run.train_step(images, labels)


def test_resolution_follows_equal_shares_of_training() -> None:
    run = new_run(params(epochs=4, resolution=[16, 24, 32, 32]))
    sides: list[int] = []
    run.model.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    for images, labels in run.batches():
        run.train_step(images, labels)
    assert sides == [16] * 10 + [24] * 10 + [32] * 20
