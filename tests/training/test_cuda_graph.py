"""Steps replayed from a CUDA graph: the same bits as steps launched one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.device import set_deterministic
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from src.pipeline.stop import Stopped
from src.training.cuda_graph import RecordedStep
from src.training.history import EpochLog
from src.training.run import Run
from tests.conftest import tiny_data
from tests.tiny import TinyNet, params, rates, settings, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


@pytest.fixture(autouse=True)
def deterministic() -> Any:
    set_deterministic(True)
    yield
    set_deterministic(False)


# A power of two is the same number in the graph's single precision.
LR = 2**-4
CUDA = torch.device("cuda")


def trained(wanted: Params, recorded: bool, steps: int, model: nn.Module | None = None) -> Run:
    how = settings(wanted, "bf16", CUDA, workers=2)
    run = Run(model or TinyNet(), tiny_data(), how, rates(wanted, LR))
    if not recorded:
        run.device_step = run.compute
    for (images, labels), _ in zip(run.batches(), range(steps), strict=False):
        run.train_step(images, labels)
    return run


def state(run: Run) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu() for name, tensor in run.state()[0].items()}


def test_training_on_a_gpu_replays() -> None:
    assert isinstance(trained(params(), True, 0).device_step, RecordedStep)


@pytest.mark.parametrize("resolution", [[32], [16, 24, 32]])
def test_a_replayed_step_is_a_launched_one(resolution: list[int]) -> None:
    wanted = params(schedule="plateau", resolution=resolution)
    ours, plain = (trained(wanted, recorded, 29) for recorded in (True, False))
    assert ours.step == int(ours.compute.done) == int(plain.compute.done) == 29
    for name, tensor in state(plain).items():
        assert torch.equal(state(ours)[name], tensor), name


def test_a_network_that_draws_draws_the_same() -> None:
    """Also in the step that is recorded, which a resumed run has elsewhere."""
    ours, plain = (
        trained(params(), recorded, 29, nn.Sequential(TinyNet(), nn.Dropout(0.5)))
        for recorded in (True, False)
    )
    for name, tensor in state(plain).items():
        assert torch.equal(state(ours)[name], tensor), name


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_it_mixes_averages_and_decays_as_a_launched_one(kind: str) -> None:
    values = params(schedule="plateau", average={"decay": 0.9}).model_dump()
    values["train"] |= {"mix": {"kind": kind, "alpha": 1.0}, "resolution": [16, 24, 32]}
    values["optimizer"]["decay_norm"] = False
    wanted = Params.model_validate(values)
    ours, plain = (trained(wanted, recorded, 29) for recorded in (True, False))
    assert any(name.startswith("average.") for name in state(plain))
    for name, tensor in state(plain).items():
        assert torch.equal(state(ours)[name], tensor), name


def test_it_follows_the_rate() -> None:
    wanted = params(schedule="one_cycle")
    ours, plain = (trained(wanted, recorded, 29) for recorded in (True, False))
    for name, tensor in state(plain).items():
        torch.testing.assert_close(state(ours)[name], tensor, rtol=1e-3, atol=1e-4)


def test_recording_changes_nothing() -> None:
    run = trained(params(), True, 0)
    before = state(run)
    images, labels = next(iter(run.batches()))
    assert isinstance(run.device_step, RecordedStep)
    run.device_step.record(images.cuda(), labels.cuda(), 32)
    torch.cuda.synchronize()
    assert all(torch.equal(state(run)[name], tensor) for name, tensor in before.items())
    assert run.lr == LR


def test_divergence_names_its_step() -> None:
    run = trained(params(schedule="plateau"), True, 3)
    with torch.no_grad():
        run.model.fc.bias.fill_(torch.inf)
    images, labels = next(iter(run.batches()))
    run.train_step(images, labels)
    run.train_step(images, labels)
    with pytest.raises(InputError, match="epoch 1, step 4 of"):
        run.check_finite()


class Interrupted(EpochLog):
    def __call__(self, *rows: Any) -> None:
        super().__call__(*rows)
        if len(rows[0]) == 2:
            raise Stopped("by the test", 1)


@pytest.mark.parametrize("average", [None, {"decay": 0.9}])
def test_a_resumed_run_ends_with_the_same_bits(
    average: dict[str, float] | None, tmp_path: Path
) -> None:
    """Also one of a network that draws, and the mean of its weights."""
    wanted = params(schedule="one_cycle", resolution=[16, 32], epochs=4, average=average)

    def ended(folder: Path, log_kind: type[EpochLog] = EpochLog) -> dict[str, torch.Tensor]:
        draws = nn.Sequential(TinyNet(), nn.Dropout(0.5))
        _, model = train(folder, wanted, LR, "bf16", model=draws, device=CUDA, log_kind=log_kind)
        return {name: tensor.cpu() for name, tensor in model.state_dict().items()}

    whole = ended(tmp_path / "whole")
    with pytest.raises(Stopped):
        ended(tmp_path / "parts", Interrupted)
    resumed = ended(tmp_path / "parts")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


class Anew(TinyNet):
    """It assigns a buffer anew."""

    running: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.running = self.running + 1
        return super().forward(images)


class ReadsBack(TinyNet):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (1.0 if images.mean().item() else 2.0)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [(Anew, "assigns a buffer anew"), (ReadsBack, "waits for the GPU")],
)
def test_what_no_graph_can_repeat_is_refused(model: type[nn.Module], sentence: str) -> None:
    """The last of all: a recording that failed leaves its stream behind."""
    with pytest.raises(InputError, match=rf"^model\.arch: the network {sentence}"):
        trained(params(), True, 1, model())
