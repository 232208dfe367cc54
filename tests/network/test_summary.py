"""plots/model.txt has 49 rows and a memory footer."""

import torch

from src.network.resnet import build_model
from src.network.summary import summary, summary_rows


def test_summary_has_the_49_rows() -> None:
    rows = summary_rows(build_model("resnet18", 10))
    kinds = [name.split("-")[0] for name, *_ in rows]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Conv2d": 20,
        "BatchNorm2d": 20,
        "BasicBlock": 8,
        "Linear": 1,
    }
    assert rows[0] == ("Conv2d-1", (64, 32, 32), 1_728)
    assert rows[-2][1:] == ((512, 4, 4), 0)
    assert rows[-1] == ("Linear-49", (10,), 5_130)
    assert sum(parameters for *_, parameters in rows) == 11_173_962


def test_summary_footer() -> None:
    text = summary(build_model("resnet18", 10))
    for line in (
        "Total parameters: 11,173,962",
        "Input size (MB): 0.01",
        "Forward/backward pass size (MB): 11.25",
        "Parameters size (MB): 42.63",
        "Estimated total size (MB): 53.89",
    ):
        assert line in text.splitlines()


def test_summary_leaves_the_model_as_it_was() -> None:
    model = build_model("resnet18", 10).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summary(model)
    assert model.training
    assert not model.layer1._forward_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
