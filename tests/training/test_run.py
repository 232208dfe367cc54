"""A run does, step by step and epoch by epoch, what its parameters say."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.data.augment import Augment
from src.data.batches import BatchKeys, Normalize
from src.pipeline.params import Params
from src.training import step
from src.training.checkpoint import Checkpoint
from src.training.run import Run
from src.training.step import validate
from tests.conftest import tiny_data, tiny_values
from tests.tiny import CPU, TinyNet, params, settings


def test_steps_are_nesterovs_on_the_smoothed_loss() -> None:
    """Two steps by hand: decayed gradients, momentum, and the look ahead (Sutskever 2013)."""
    values = tiny_values()
    values["train"] |= {"resolution": [32], "batch_size": 16, "label_smoothing": 0.2}
    values["optimizer"] = {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}
    run, model = Run(TinyNet(), tiny_data(), Params.model_validate(values), settings()), TinyNet()
    velocity = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for images, labels in itertools.islice(run.batches(), 2):
        run.train_step(images, labels)
        logarithms = model(run.normalize(images)).log_softmax(1)
        target = 0.8 * F.one_hot(labels, 10) + 0.2 / 10
        loss = -(target * logarithms).sum(1).mean()
        named = dict(model.named_parameters())
        gradients = torch.autograd.grad(loss, list(named.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(named.items(), gradients, strict=True):
                decayed = gradient + 0.1 * weight
                velocity[name] = 0.8 * velocity[name] + decayed
                weight.sub_(0.05 * (decayed + 0.8 * velocity[name]))
    for name, p in run.model.named_parameters():
        assert torch.allclose(p, model.get_parameter(name), atol=1e-5), name


def test_training_sees_the_augmented_images() -> None:
    data, wanted = tiny_data(), params()
    images, labels = next(iter(Run(TinyNet(), data, wanted, settings()).batches()))
    ((*keys,),) = BatchKeys(len(data.train), 16, wanted.seed, 0, 1)
    augment = Augment(wanted.augment, wanted.seed)
    drawn = np.stack([augment(data.train.images[index], epoch, index) for epoch, index in keys])
    rows = [index for _, index in keys]
    assert (images.numpy() == drawn).all()
    assert (labels.numpy() == data.train.labels[rows]).all()
    assert (drawn != data.train.images[rows]).any()


def test_validation_is_the_mean_over_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last batch is a short one."""
    monkeypatch.setattr(step, "EVAL_BATCH", 24)
    data, model = tiny_data(), TinyNet()
    assert data.validation is not None
    assert len(data.validation) == 40
    normalize = Normalize(data.mean, data.std, CPU)
    found = validate(model, data.validation, normalize, "fp32", 32, lambda: None)
    labels = torch.from_numpy(data.validation.labels)
    with torch.no_grad():
        logits = model.eval()(normalize(torch.from_numpy(data.validation.images)))
    right = (logits.argmax(1) == labels).double().mean().item()
    assert found == pytest.approx((F.cross_entropy(logits, labels).item(), right), rel=1e-5)


def test_an_epochs_row_counts_its_steps_and_validates_at_their_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(TinyNet(), tiny_data(), params(epochs=2, resolution=[16, 32]), settings())
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
    plateau: dict[str, Any] = {"factor": 0.5, "patience": 0, "cooldown": 1}
    wanted = params(epochs=4, schedule=schedule, plateau=plateau)

    def new() -> Run:
        return Run(TinyNet(), tiny_data(), wanted, settings(1.0, precision))

    whole = new()
    advance(whole, 40)
    first, checkpoint = new(), Checkpoint(tmp_path, "run", 0)
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
    assert len({row["lr"] for row in whole.history}) > 1
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
