"""Pixels go and come in a map's order, and the curves' areas are those of other libraries."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from sklearn.metrics import auc
from torch import nn

from src.data.normalize import Normalize
from src.explanation.curves import (
    SHARES,
    Trial,
    area,
    lead,
    log_odds,
    rank_pixels,
    removed_at,
)
from src.explanation.imputation import imputed
from src.network.weights import Trained

RNG = np.random.default_rng(0)
MAPS = RNG.random((3, 8, 8))
TIES = RNG.random((3, 8, 8))
IMAGES = RNG.normal(size=(3, 8, 8, 3)).astype(np.float32)
CPU = torch.device("cpu")


def trained(model: nn.Module) -> Trained:
    return Trained(model, Normalize([0.0] * 3, [1.0] * 3, CPU), "fp32")


def test_the_highest_pixel_comes_first() -> None:
    ranks = rank_pixels(MAPS, TIES)
    for ranked, each in zip(ranks, MAPS, strict=True):
        assert (np.diff(each.ravel()[ranked.ravel().argsort()]) < 0).all()
        assert sorted(ranked.ravel()) == list(range(64))


def test_draws_break_ties_and_nothing_else() -> None:
    maps = MAPS.copy()
    maps[:, 2:] = 0  # as where a class has no evidence
    ranks = rank_pixels(maps, TIES)
    np.testing.assert_array_equal(ranks[:, :2], rank_pixels(maps, TIES[::-1])[:, :2])
    for ranked, ties in zip(ranks, TIES, strict=True):
        order = ranked[2:].ravel().argsort()
        assert (np.diff(ties[2:].ravel()[order]) > 0).all()


def test_each_curve_has_eight_shares_and_the_whole_image() -> None:
    ranks = rank_pixels(MAPS, TIES)
    assert all(len(shares) == 8 for shares in SHARES.values())
    assert not removed_at(ranks, "deletion", SHARES["deletion"][0]).any()
    assert not removed_at(ranks, "insertion", SHARES["insertion"][-1]).any()
    for share in (1 / 8, 1 / 2, 7 / 8):
        deleted, others = (removed_at(ranks, curve, share) for curve in SHARES)
        assert (deleted.sum((1, 2)) == 64 * share).all()
        np.testing.assert_array_equal(deleted, ~others)
        assert MAPS[0][deleted[0]].min() > MAPS[0][others[0]].max()


def test_each_share_is_an_eighth_of_the_pixels_more() -> None:
    ranks = rank_pixels(MAPS, TIES)
    for curve, counts in (("deletion", range(0, 64, 8)), ("insertion", range(56, -8, -8))):
        found = [removed_at(ranks, curve, share).sum((1, 2)).tolist() for share in SHARES[curve]]
        assert found == [[count] * 3 for count in counts]


# It hands tensors to NumPy functions.
@pytest.mark.filterwarnings("ignore:__array_wrap__ must:DeprecationWarning")
def test_deleted_images_are_those_of_grad_cam() -> None:
    """ROAD's most relevant first, without its noise, at three shares; to 1e-5."""
    ranks = rank_pixels(MAPS, TIES)
    for share in (1 / 8, 1 / 2, 7 / 8):
        theirs = RemoveMostRelevantFirst(100 * (1 - share), NoisyLinearImputer(noise=0.0))
        ours = imputed(IMAGES, removed_at(ranks, "deletion", share)).transpose(0, 3, 1, 2)
        for image, each, deleted in zip(IMAGES, MAPS, ours, strict=True):
            expected = theirs(torch.from_numpy(image.transpose(2, 0, 1)), torch.from_numpy(each))
            np.testing.assert_allclose(deleted, expected, atol=1e-5)


class Brightness(nn.Module):
    """Logits: 0, the mean of the red channel, twice the mean of the green one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red, green, _ = images.mean((2, 3)).unbind(1)
        return torch.stack([torch.zeros_like(red), red, 2 * green], dim=1)


def test_log_odds_are_those_of_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = torch.tensor([2, 0, 1])
    probability = Brightness()(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)).double().softmax(1)
    expected = torch.logit(probability[range(3), targets])
    for batch in (2, 500):
        monkeypatch.setattr("src.explanation.curves.EVAL_BATCH", batch)
        np.testing.assert_allclose(log_odds(trained(Brightness()), IMAGES, targets), expected)


def test_log_odds_do_not_saturate() -> None:
    class Sure(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[60.0, 0.0]]).expand(len(images), 2)

    assert log_odds(trained(Sure()), IMAGES, torch.tensor([0, 0, 1])).tolist() == [60, 60, -60]


def test_a_curve_holds_the_scores_of_the_filled_images() -> None:
    targets = torch.tensor([1, 1, 2])
    network = trained(Brightness())
    whole = log_odds(network, IMAGES, targets)

    def black(removed: np.ndarray) -> np.ndarray:
        return np.where(removed[..., None], 0, IMAGES)

    trial = Trial(network, targets, whole, TIES, {"blur": black, "linear": black})
    curves = trial.curves(MAPS)
    assert len(curves) == 4
    for (_, curve), found in curves.items():
        assert found.shape == (3, 8)
        np.testing.assert_array_equal(found[:, 0 if curve == "deletion" else -1], whole)
        gone = removed_at(rank_pixels(MAPS, TIES), curve, SHARES[curve][3])
        np.testing.assert_array_equal(found[:, 3], log_odds(network, black(gone), targets))


@pytest.mark.parametrize("curve", SHARES)
def test_areas_are_those_of_scikit_learn(curve: str) -> None:
    scores = RNG.normal(size=(5, 8))
    expected = [auc(SHARES[curve], each) / (7 / 8) for each in scores]
    np.testing.assert_allclose(area(scores, curve), expected)


def test_a_map_leads_when_its_deletion_hurts_more_or_its_pixels_show_more() -> None:
    low, high = np.zeros(2), np.ones(2)
    assert (lead(low, high, "deletion") == 1).all()
    assert (lead(high, low, "insertion") == 1).all()
