"""The mean of the weights: by its formula, and as the network that training returns."""

import copy
from pathlib import Path

import pytest
import torch

from src.training.average import Average
from tests.tiny import TinyNet, new_run, params, train

DECAY = 0.8


def test_it_is_the_weighted_mean_of_all_steps() -> None:
    """Of weights and batch-norm statistics; the initial network is not in it."""
    model = TinyNet()
    average, states = Average(model, DECAY), []
    for step in range(6):
        with torch.no_grad():
            for tensor in (*model.parameters(), model.bn.running_mean, model.bn.running_var):
                tensor.normal_(generator=torch.Generator().manual_seed(step))
        average.update(torch.tensor(step))
        states.append(copy.deepcopy(model.state_dict()))
    weights = [DECAY ** (5 - step) for step in range(6)]
    for name, mean in average.model.state_dict().items():
        if mean.is_floating_point():
            sums = sum(w * state[name] for w, state in zip(weights, states, strict=True))
            torch.testing.assert_close(mean, sums / sum(weights))


def test_a_slow_mean_begins_with_the_first_step() -> None:
    """In fp32 1 - 0.99999^1 has few digits, if it is computed as written."""
    model = TinyNet()
    average = Average(model, 0.99999)
    with torch.no_grad():
        model.fc.weight.fill_(3.0)
    average.update(torch.tensor(0))
    torch.testing.assert_close(average.model.fc.weight, model.fc.weight)  # type: ignore[arg-type]


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
    assert torch.equal(first.fc.weight, again.fc.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [0.9])
def test_the_mean_needs_no_gradients(decay: float) -> None:
    assert not any(p.requires_grad for p in Average(TinyNet(), decay).model.parameters())
