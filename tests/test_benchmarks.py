"""The benchmarks start, and change what they say they change."""

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from benchmarks import costs, levers, plateau, rates, startup, training
from benchmarks.setting import DRAWN, benchmark_params, changed, quick_params, rate, sample
from src.network.resnet import build_model
from tests.conftest import ROOT, tiny_data
from tests.tiny import TinyNet, new_run, params


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.setting.build_model", lambda *_: TinyNet())


def test_the_quick_recipe_is_what_they_take() -> None:
    assert quick_params().train.schedule == "one_cycle"
    assert benchmark_params(3).train.epochs == 3
    assert benchmark_params(3).augment == quick_params().augment


def test_changed_leaves_the_rest() -> None:
    before = quick_params()
    after = changed(before, train={"epochs": 1}, data={"train_limit": 5})
    assert (after.train.epochs, after.data.train_limit) == (1, 5)
    assert after.train.schedule == before.train.schedule
    assert after.model == before.model


def test_a_rate_is_images_a_second_over_the_steps_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([10.0, 12.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    steps = iter(range(100))
    assert rate(steps, 7, 128, lambda: None) == 7 * 128 / 2
    assert next(steps) == 7


def test_a_group_of_its_own_follows_the_cycle() -> None:
    wanted = params(schedule="one_cycle")
    run = new_run(wanted, 0.1)
    levers.own_group(4.0, run)
    large, small = run.optimizer.param_groups
    assert {p.dim() for p in large["params"]} == {2, 4}
    assert {p.dim() for p in small["params"]} == {1}
    assert large["weight_decay"] == wanted.optimizer.weight_decay > 0
    assert small["weight_decay"] == 0
    for (images, labels), _ in zip(run.batches(), range(3), strict=False):
        assert small["lr"] == pytest.approx(4 * large["lr"])
        run.train_step(images, labels)


def test_quiet_branches_start_at_zero_and_nothing_else_does() -> None:
    network = build_model("resnet18", 10)
    levers.quiet_branches(SimpleNamespace(model=network))
    weights = {name: module.weight for name, module in network.named_modules()
               if isinstance(module, nn.BatchNorm2d)}  # fmt: skip
    last = {name for name in weights if name.endswith(".bn2")}
    assert len(last) == 8
    for name, weight in weights.items():
        assert weight.eq(0 if name in last else 1).all(), name


def test_a_run_can_be_trained_with_every_lever() -> None:
    for values, lever in levers.LEVERS.values():
        run = new_run(params(schedule="one_cycle", **values))
        lever(run)
        (images, labels), *_ = run.batches()
        run.train_step(images, labels)
        run.check_finite()


def test_a_measurement_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, calls = tmp_path / "rates.json", []

    def measure(value: float) -> dict[str, float]:
        calls.append(value)
        return {"val_accuracy": value}

    rates.measured(path, "a", partial(measure, 0.5))
    rates.measured(path, "a", partial(measure, 0.7))
    rates.measured(path, "b", partial(measure, 0.9))
    assert calls == [0.5, 0.9]
    assert rates.read_results(path) == {"a": {"val_accuracy": 0.5}, "b": {"val_accuracy": 0.9}}
    assert capsys.readouterr().out.count("val_accuracy 0.5") == 2


def test_a_short_training_that_diverges_is_no_error() -> None:
    def short(lr: float) -> dict[str, float]:
        wanted = params(epochs=1)
        return rates.short_training(wanted, tiny_data(), lr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.setting.build_model", lambda *_: TinyNet())
        assert set(short(0.01)) == {"val_loss", "val_accuracy"}
        assert short(1e20) == {}


def test_grad_cam_is_measured_against_its_passes() -> None:
    found = costs.gradcam_ratios(rounds=1, batch=2)
    assert list(found) == ["layer1", "layer2", "layer3", "layer4"]
    assert all(0 < ratio < 100 for ratio in found.values())


def test_start_up_imports_what_the_stage_does(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Any] = []
    monkeypatch.setattr("subprocess.run", lambda command, **_: commands.append(command))
    costs.startup_seconds("download")
    assert ", src.sources.table" in commands[0][2]


@pytest.mark.usefixtures("tiny_network")
def test_training_rates_take_the_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> Callable[[int], float]:
            return float

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(training, "elsewhere", Elsewhere)
    monkeypatch.setattr(training, "matmul_peak", lambda *_: 1.0)
    settings = training.settings_of(training.benchmark_params(1_000))
    rounds = training.rounds_of(sample(16), settings, lambda: None, (4, 8), steps=2)
    for found, peak, memory in islice(rounds, 3):
        assert list(found) == ["this project", "this project, batch 8", "usual script"]
        assert min(found.values()) > 0
        assert (peak, found["usual script"]) == (1.0, 2.0)
        assert memory > 0


def test_another_loop_starts_its_loader_as_its_users_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        def recv(self) -> int:
            if sent:
                raise EOFError
            return 1

        def send(self, value: float) -> None:
            sent.append(value)

    def loop(*_: object) -> Any:
        started.append(multiprocessing.get_start_method(allow_none=True))
        yield

    sent: list[float] = []
    started: list[str | None] = []
    monkeypatch.setitem(training.OTHERS, "usual script", (loop, 128))
    # As it is in a process that was spawned.
    multiprocessing.set_start_method("spawn", force=True)
    try:
        training.serve(Connection(), "usual script", 4)
    finally:
        multiprocessing.set_start_method(None, force=True)
    assert started == [None]
    assert len(sent) == 1


def test_another_loop_ends_though_a_loader_process_has_its_pipe() -> None:
    """One that is forked meanwhile, as our loader's are."""
    with training.elsewhere("usual script", 4) as measured:
        loader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        loader.start()
        assert measured(1) > 0
    assert loader.is_alive()
    loader.kill()
    loader.join()


def test_a_large_sample_repeats_the_images() -> None:
    data = sample(DRAWN + 5)
    assert len(data.train) == DRAWN + 5
    assert (data.train.images[DRAWN:] == data.train.images[:5]).all()
    assert (data.train.labels[DRAWN:] == data.train.labels[:5]).all()


@pytest.mark.parametrize("stage", costs.STAGES)
def test_the_imports_of_each_stage_are_found(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those inside its functions, over one line or several."""
    monkeypatch.chdir(ROOT)
    modules = startup.imports_of(stage)
    assert "src.pipeline.stage" in modules
    assert all(find_spec(module) for module in modules)
    statements = (ROOT / f"stages/{stage}.py").read_text().count("import ")
    assert len(modules) == statements


def test_the_parts_of_a_start_up_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.network.resnet.build_model", lambda *_: TinyNet())
    asked = count(100)
    monkeypatch.setattr(startup, "time", SimpleNamespace(time=partial(next, asked)))
    found = startup.parts(95, tmp_path)
    seconds = {name: value for name, value in found.items() if name != "images"}
    assert list(seconds) == [
        "interpreter", "imports", "CUDA", "data", "augmentation", "network", "optimizer", "workers",
        "graph", "next step",
    ]  # fmt: skip
    assert seconds == dict.fromkeys(seconds, 1) | {"interpreter": 5}
    assert found["images"] == 3_000


class Losses:
    """Epochs with given validation losses, and the rates that were asked for."""

    def __init__(self, *losses: float) -> None:
        self.losses = losses

    def epoch(self, rates: list[float]) -> plateau.Row:
        self.rates = rates
        return {"last": [self.losses[len(rates) - 1], 0.5], "0.998": [1 / len(rates), 0.5]}


def test_a_form_lowers_the_rate_by_the_losses_that_it_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plateau, "EPOCHS", 6)
    tree: Any = Losses(1.0, 0.8, 0.9, 0.85, 0.7, 0.6)
    falls, row = plateau.walk(tree, plateau.Form("last", 0.3, 1, 0.0001))
    assert (falls, row["last"][0]) == ([4], 0.6)
    assert tree.rates == pytest.approx([0.01] * 4 + [0.003] * 2)
    # A loss that falls by no more than a quarter is taken for a plateau.
    falls, _ = plateau.walk(tree, plateau.Form("0.998", 0.5, 0, 0.25))
    assert falls == [4]


def test_an_epoch_is_trained_once_and_from_where_its_rates_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plateau, "KEPT", tmp_path)
    monkeypatch.setattr(plateau, "read_training_data", lambda *_: tiny_data())
    monkeypatch.setenv("DEVICE", "cpu")

    def new() -> plateau.Tree:
        tree = plateau.Tree(params(epochs=3, precision="fp32"), 0)
        tree.folder.mkdir(exist_ok=True)
        tree.save([])
        return tree

    first, again, other = new(), new(), new()
    rows = [first.epoch([0.01] * count) for count in (1, 2, 3)]
    monkeypatch.setattr(again, "train", None)
    assert [again.epoch([0.01] * count) for count in (1, 2, 3)] == rows
    assert other.epoch([0.01, 0.01, 0.001]) != rows[2]
    assert other.run.step == 30
    for file in tmp_path.glob("0/3-*"):
        file.unlink()
    assert new().epoch([0.01] * 3) == rows[2]
