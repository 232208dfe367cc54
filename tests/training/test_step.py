"""A step: Nesterov's update, skipped where something is not finite."""

import itertools
import math
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from src.pipeline.errors import InputError
from src.pipeline.params import Params
from tests.conftest import tiny_values
from tests.tiny import TinyNet, new_run, params


def test_smoothing_is_learned_from_and_not_reported() -> None:
    """The training loss stands beside the validation's, which has none."""
    runs = [new_run(params(label_smoothing=smoothing), 0.1) for smoothing in (0.0, 0.5)]
    for run in runs:
        (images, labels), *_ = run.batches()
        run.train_step(images, labels)
    plain, smoothed = runs
    assert torch.equal(plain.compute.sums, smoothed.compute.sums)
    assert not torch.equal(plain.model.fc.weight, smoothed.model.fc.weight)


def test_a_bad_step_leaves_the_weights_finite() -> None:
    run = new_run(params())
    (images, labels), *_ = run.batches()
    run.train_step(images, labels)
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    gradient = run.model.fc.weight.register_hook(lambda g: g * math.inf)
    run.train_step(images, labels)
    gradient.remove()
    assert all(torch.equal(before[name], p) for name, p in run.model.named_parameters())
    run.train_step(images, labels)
    assert not all(torch.equal(before[name], p) for name, p in run.model.named_parameters())
    with pytest.raises(InputError, match=r"at epoch 1, step 2 of 10, near learning rate 0\.05"):
        run.check_finite()


@pytest.mark.parametrize(("bad_steps", "named"), [(1, False), (18, True)])
def test_fp16_gradients_that_always_overflow_are_named(bad_steps: int, named: bool) -> None:
    """One is skipped and the loss scale halved; at a scale below 1 it is divergence."""
    run = new_run(params(epochs=9), precision="fp16")
    run.model.fc.weight.register_hook(lambda g: g * math.inf)
    for images, labels in itertools.islice(run.batches(), bad_steps):
        run.train_step(images, labels)
    with pytest.raises(InputError, match="training diverged") if named else nullcontext():
        run.check_finite()


def test_steps_are_nesterovs_on_the_smoothed_loss() -> None:
    """Two steps by hand: decayed gradients, momentum, and the look ahead (Sutskever 2013)."""
    values = tiny_values()
    values["train"] |= {"resolution": [32], "batch_size": 16, "label_smoothing": 0.2}
    values["optimizer"] |= {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}
    run, model = new_run(Params.model_validate(values)), TinyNet()
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
