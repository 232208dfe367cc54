"""When does ReduceLROnPlateau lower the rate, and how far is that chance?

A ResNet-18 of a quarter of the width trains on images of 16 px, otherwise by the default recipe,
with several forms of the plateau and several seeds. Each form goes by the validation loss of the
last weights or of a mean of the weights. Only validation images judge. Forms share the epochs
whose rates are the same.

The study needs data/ (`dvc repro download`) and two to three hours on two cores. It keeps each
epoch in bench/plateau at once, and a second call goes on from there; delete the folder to measure
anew, also after an edit of the training.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from benchmarks.setting import changed, settings_of
from src.data.dataset import read_training_data
from src.data.tensors import load_tensors, save_tensors
from src.network.blocks import BasicBlock, conv, layer
from src.pipeline.files import read_json, write_json
from src.pipeline.params import Params
from src.pipeline.paths import DATA
from src.pipeline.read_params import load_params
from src.training.average import Average
from src.training.checkpoint import fingerprint
from src.training.optimizer import set_rate
from src.training.run import Run, within
from src.training.schedule import Rates
from src.training.validation import validate

KEPT = Path("bench/plateau")
SEEDS = range(2)
SIDE, WIDTH, EPOCHS, LR = 16, 16, 30, 0.01
LAST, DECAYS = "last", ("0.995", "0.998", "0.999")
# Validation loss and accuracy of the last weights and of each mean.
Row = dict[str, list[float]]


class Form(NamedTuple):
    """of: the network whose loss the plateau watches, LAST or one of DECAYS."""

    of: str
    factor: float
    patience: int
    threshold: float


FORMS = (
    Form(LAST, 0.3, 1, 0.0001),
    Form("0.998", 0.3, 1, 0.03),
    Form("0.998", 0.5, 0, 0.02),
    Form(LAST, 0.3, 2, 0.0001),
    Form(LAST, 0.3, 3, 0.0001),
)


class Narrow(nn.Module):
    """The default network with a quarter of its channels: 0.7 million parameters."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = conv(3, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU()
        widths = [WIDTH, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
        self.layers = nn.Sequential(
            *(layer(BasicBlock, widths[i], widths[i + 1], 2, 1 if i == 0 else 2) for i in range(4))
        )
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8 * WIDTH, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features = self.layers(self.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


class Tree:
    """The epochs of one seed that have been trained, by the rates that led to each."""

    def __init__(self, params: Params, seed: int) -> None:
        params = params.model_copy(update={"seed": seed})
        self.data, self.folder = read_training_data(DATA, params.data), KEPT / str(seed)
        torch.manual_seed(seed)
        model = Narrow(len(self.data.classes))
        self.run = Run(model, self.data, settings_of(params), Rates(LR, LR, 0.0))
        # params.yaml cannot ask for small images throughout.
        self.run.side = lambda step: SIDE  # type: ignore[method-assign]  # noqa: ARG005
        self.means = {decay: Average(model, float(decay)) for decay in DECAYS}
        self.rates: list[float] = []

    def file(self, rates: Sequence[float], suffix: str) -> Path:
        name = fingerprint({"rates": [f"{rate:.6g}" for rate in rates]})
        return self.folder / f"{len(rates)}-{name}.{suffix}"

    def epoch(self, rates: list[float]) -> Row:
        """The row after the epochs at these rates, trained unless an earlier call did."""
        file = self.file(rates, "json")
        if not file.exists():
            if rates[:-1] != self.rates:
                self.load(rates[:-1])
            self.train(rates[-1])
            self.rates = list(rates)
            self.save(rates)
            write_json(file, self.validated())
        return read_json(file, "delete it")

    def train(self, rate: float) -> None:
        run = self.run
        set_rate(run.optimizer, rate)
        for (images, labels), _ in zip(run.batches(), range(run.per_epoch), strict=False):
            done = run.compute.done.clone()
            run.train_step(images, labels)
            for mean in self.means.values():
                mean.update(done)
        run.check_finite()

    def validated(self) -> Row:
        run, validation = self.run, self.data.validation
        assert validation is not None
        how = (run.normalize, run.settings.precision, SIDE, lambda: None)
        networks = {LAST: run.model}
        for decay, mean in self.means.items():
            mean.complete(self.data.train, *how)
            networks[decay] = mean.model
        return {k: list(validate(network, validation, *how)) for k, network in networks.items()}

    def save(self, rates: list[float]) -> None:
        tensors, values = self.run.state()
        for decay, mean in self.means.items():
            tensors |= {f"mean.{decay}.{k}": v for k, v in mean.model.state_dict().items()}
        save_tensors(self.file(rates, "safetensors"), tensors, values)

    def load(self, rates: list[float]) -> None:
        tensors, values = load_tensors(self.file(rates, "safetensors"), "delete it")
        self.run.restore((tensors, values))
        for decay, mean in self.means.items():
            mean.model.load_state_dict(within(f"mean.{decay}.", tensors))
        self.rates = list(rates)


def walk(tree: Tree, form: Form) -> tuple[list[int], Row]:
    """The epochs after which the rate fell, and the last epoch's row."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], LR)
    scheduler = ReduceLROnPlateau(
        optimizer, factor=form.factor, patience=form.patience, threshold=form.threshold
    )
    rates: list[float] = []
    row: Row = {}
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        row = tree.epoch(rates)
        scheduler.step(row[form.of][0])
    return [after for after in range(1, EPOCHS) if rates[after] < rates[after - 1]], row


def main() -> None:
    """All seeds, or those that the command line names: two can be measured side by side."""
    KEPT.mkdir(parents=True, exist_ok=True)
    usual = {"epochs": EPOCHS, "schedule": "plateau", "average": None}
    params = changed(load_params(), train=usual)
    for seed in map(int, sys.argv[1:] or SEEDS):
        tree = Tree(params, seed)
        tree.folder.mkdir(exist_ok=True)
        tree.save([])
        for form in FORMS:
            falls, row = walk(tree, form)
            ends = "  ".join(f"{name} {accuracy:.2%}" for name, (_, accuracy) in row.items())
            print(f"seed {seed}  {form}  falls after {falls}  {ends}", flush=True)


if __name__ == "__main__":
    main()
