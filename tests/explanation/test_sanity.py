"""Maps that do not depend on the weights are found out."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from src.data.normalize import Normalize
from src.explanation.sanity import (
    DRAWS,
    LEARNED,
    Likeness,
    cascade,
    cascade_correlations,
    check,
    parts_of,
    rank_correlations,
)
from src.network.blocks import ResNet
from src.network.resnet import build_model
from src.network.weights import Trained
from src.sources.shapes import draw

PARTS = ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
IMAGES, LABELS, _ = draw(4, 0)
NORMALIZE = Normalize([0.5] * 3, [0.25] * 3, torch.device("cpu"))


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 3, 6, 6))
    first[:, :3] = 0  # ties
    expected = [
        spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(rank_correlations(first, second), expected)


def test_a_flat_map_has_no_rank_correlation() -> None:
    flat, other = np.zeros((1, 4, 4)), np.random.default_rng(0).random((1, 4, 4))
    assert np.isnan(rank_correlations(flat, other)).all()
    assert np.isnan(rank_correlations(other, flat)).all()


def test_the_error_has_the_chance_of_images_and_of_draws() -> None:
    """A simulation: draws that move all maps alike, and maps that differ among themselves."""
    rng, means, errors = np.random.default_rng(0), [], []
    for _ in range(2000):
        of_draw, of_image = rng.normal(0, 0.1, (DRAWS, 1)), rng.normal(0, 0.2, 50)
        found = 0.3 + of_draw + of_image + rng.normal(0, 0.1, (DRAWS, 50))
        told = check(1, "fc", "layer4", [Likeness(row, 0.0) for row in found])
        means.append(told.correlation)
        errors.append(told.error)
    truth = (0.1**2 / DRAWS + 0.2**2 / 50 + 0.1**2 / (DRAWS * 50)) ** 0.5
    assert np.std(means) == pytest.approx(truth, rel=0.05)
    assert np.mean(np.square(errors)) == pytest.approx(truth**2, rel=0.1)


def untrained(seed: int) -> nn.Module:
    return build_model("resnet18", 10, seed)


def test_each_draw_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def counted(seed: int) -> nn.Module:
        seeds.append(seed)
        return nn.Sequential(nn.Conv2d(3, 1, 1))

    monkeypatch.setattr("src.explanation.maps.grad_cam", lambda *_: {"0": torch.zeros(4, 32, 32)})
    trained = Trained(counted(0), NORMALIZE, "fp32")
    cascade_correlations(trained, counted, ["0"], IMAGES, LABELS, "gradcam")
    assert len(set(seeds)) == len(seeds) == 1 + DRAWS


def test_flat_maps_of_a_draw_are_left_out() -> None:
    nan = np.nan
    draws = [[0.5, nan, 0.1], [0.3, nan, nan], [nan, nan, nan]]
    shares = (0.2, 0.4, 0.6)
    told = check(
        2, "fc", "layer4", [Likeness(np.array(d), s) for d, s in zip(draws, shares, strict=True)]
    )
    assert told.images == 2
    assert told.correlation == pytest.approx(0.3)
    assert told.error == pytest.approx(np.hypot(0, 0.3 / 2))  # both draws 0.3; images 0.4, 0.1
    assert told.no_evidence == pytest.approx(0.4)


def test_parts_are_drawn_anew_from_the_top_and_the_network_stays() -> None:
    model = build_model("resnet18", 10).eval()
    with torch.no_grad():
        model.bn1.running_mean.fill_(3.0)
        model.fc.bias.fill_(3.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fresh, names = untrained(1).state_dict(), []
    for name, changed in cascade(model, untrained(1), parts_of(model)):
        names.append(name)
        for key, tensor in changed.state_dict().items():
            redrawn = key.split(".")[0] in names
            assert torch.equal(tensor, (fresh if redrawn else before)[key]), key
            if key.endswith("conv1.weight") or key in ("fc.bias", "bn1.running_mean"):
                assert torch.equal(tensor, before[key]) != redrawn, key
    assert names == PARTS
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Scaled(nn.Module):
    """As in ConvNeXt and in ViT: parameters beside layers, and a norm that is no batch norm."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 2))
        self.block.register_parameter("scale", nn.Parameter(torch.empty(1)))
        self.pool = nn.Identity()
        self.head = nn.LayerNorm(2)
        self.token = nn.Parameter(torch.empty(1))
        for parameter in self.parameters():
            nn.init.constant_(parameter, value)


def test_no_weight_of_any_kind_stays_as_trained() -> None:
    steps = []
    for name, changed in cascade(Scaled(1.0), Scaled(2.0), ["block", "head"]):
        state = changed.state_dict()
        steps.append(
            (name, sorted({key.split(".")[0] for key in state if (state[key] == 2).all()}))
        )
    assert steps == [("head", ["head"]), ("block", ["block", "head", "token"])]


class HeadFirst(nn.Module):
    """Its author named the head first, then a part without use, a list of blocks, the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.spare = nn.Linear(3, 2), nn.Linear(1, 1)
        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)])
        self.stem = nn.Conv2d(3, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        for block in self.blocks:
            features = block(features)
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


def test_the_last_part_is_the_one_that_ends_last() -> None:
    assert parts_of(HeadFirst().eval()) == ["spare", "stem", "blocks", "head"]


def test_grad_cam_depends_on_the_weights(model: ResNet) -> None:
    """Each step changes the maps, even of this network, which has learned nothing."""
    trained = Trained(model, NORMALIZE, "fp32")
    checks = cascade_correlations(
        trained, untrained, ["layer3", "layer4"], IMAGES, LABELS, "gradcam"
    )
    assert [(c.step, c.redrawn) for c in checks[::2]] == list(enumerate([LEARNED, *PARTS]))
    assert [c.correlation for c in checks[:2]] == [pytest.approx(1), pytest.approx(1)]
    drawn = [c.correlation for c in checks[2:] if c.correlation is not None]
    assert len(drawn) > len(checks[2:]) / 2
    assert max(drawn) < 0.99
    assert checks == cascade_correlations(
        trained, untrained, ["layer3", "layer4"], IMAGES, LABELS, "gradcam"
    )


def brightness(
    _: nn.Module, layers: Sequence[str], images: torch.Tensor, __: torch.Tensor, *___: str
) -> dict[str, torch.Tensor]:
    """A broken CAM that looks at the image alone."""
    return {name: images.mean(1) for name in layers}


def test_a_map_of_the_image_alone_fails(model: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.explanation.maps.grad_cam", brightness)
    checks = cascade_correlations(
        Trained(model, NORMALIZE, "fp32"), untrained, ["layer4"], IMAGES, LABELS, "gradcam"
    )
    assert len(checks) == len(PARTS) + 1
    assert all(each.correlation == pytest.approx(1) for each in checks)


def test_images_without_evidence_are_counted(
    model: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_in_four(*args: torch.Tensor) -> dict[str, torch.Tensor]:
        cams = brightness(*args)
        return {name: cam * (torch.arange(4) > 0)[:, None, None] for name, cam in cams.items()}

    monkeypatch.setattr("src.explanation.maps.grad_cam", one_in_four)
    (first, *_) = cascade_correlations(
        Trained(model, NORMALIZE, "fp32"), untrained, ["layer4"], IMAGES, LABELS, "gradcam"
    )
    assert (first.images, first.no_evidence) == (3, 0.25)


def test_the_maps_that_lose_their_evidence_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the maps after the draw that are told of, and a map is lost when all of it is zero."""
    network = nn.Sequential(nn.Conv2d(3, 1, 1))

    def until_drawn(model: nn.Module, *args: Sequence[str]) -> dict[str, torch.Tensor]:
        (cams,) = brightness(model, *args).values()
        cams[:, 0, 0] = 0
        return {"0": cams * (model is network)}

    monkeypatch.setattr("src.explanation.maps.grad_cam", until_drawn)
    before, after = cascade_correlations(
        Trained(network, NORMALIZE, "fp32"),
        lambda _: nn.Sequential(nn.Conv2d(3, 1, 1)),
        ["0"],
        IMAGES,
        LABELS,
        "gradcam",
    )
    assert (before.images, before.no_evidence) == (4, 0.0)
    assert (after.images, after.no_evidence) == (0, 1.0)


def test_where_all_maps_are_flat_there_is_no_correlation(
    model: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "src.explanation.maps.grad_cam", lambda *_: {"layer4": torch.zeros(4, 32, 32)}
    )
    (first, *_) = cascade_correlations(
        Trained(model, NORMALIZE, "fp32"), untrained, ["layer4"], IMAGES, LABELS, "gradcam"
    )
    assert first[3:] == (None, None, 0, 1.0)
