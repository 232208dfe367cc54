"""Mixtures of two images: keyed draws, the papers' pixels, and a loss on both labels."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.pipeline.params import Mix
from src.training.mix import Mixture, draw
from tests.tiny import CPU, new_run, params

MIXUP, CUTMIX = (Mix(kind=kind, alpha=1.0) for kind in ("mixup", "cutmix"))


@pytest.mark.parametrize("mix", [MIXUP, CUTMIX], ids=lambda mix: mix.kind)
def test_a_draw_belongs_to_its_seed_and_step(mix: Mix) -> None:
    assert draw(mix, 1, 2) == draw(mix, 1, 2)
    assert len({draw(mix, *key).share for key in itertools.product(range(5), range(5))}) > 20


@pytest.mark.parametrize(("alpha", "variance"), [(1.0, 1 / 12), (0.2, 1 / 5.6)])
def test_shares_are_from_beta(alpha: float, variance: float) -> None:
    """The variance of Beta(a, a) is 1 / (4 (2a + 1))."""
    shares = [draw(Mix(kind="mixup", alpha=alpha), 0, step).share for step in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * (variance / 2000) ** 0.5)
    assert np.var(shares) == pytest.approx(variance, rel=0.1)


def test_a_box_covers_what_its_share_leaves() -> None:
    """It is square where it does not hang over the edge, and lies inside the image."""
    drawn = [draw(CUTMIX, 0, step) for step in range(500)]
    for each in drawn:
        top, bottom, left, right = each.box
        assert 0 <= top <= bottom <= 32
        assert 0 <= left <= right <= 32
        assert (bottom - top) * (right - left) == pytest.approx((1 - each.share) * 32**2)
        if 0 < top < bottom < 32 and 0 < left < right < 32:
            assert abs((bottom - top) - (right - left)) <= 1
    edges = np.array([each.box for each in drawn])
    assert edges[:, ::2].min(0).tolist() == [0, 0]
    assert edges[:, 1::2].max(0).tolist() == [32, 32]
    assert len(np.unique(edges[:, 0])) > 20
    assert len(np.unique(edges[:, 2])) > 20


def test_a_box_leaves_the_share_that_was_drawn() -> None:
    """Which is MixUp's of the same step; but for a pixel, and for what hangs over the edge."""
    whole = 0
    for step in range(500):
        top, bottom, left, right = draw(CUTMIX, 0, step).box
        side = 32 * (1 - draw(MIXUP, 0, step).share) ** 0.5
        for start, end in ((top, bottom), (left, right)):
            if start > 0 and end < 32:
                assert abs(end - start - side) <= 1
                whole += 1
    assert whole > 200


def mixed(mix: Mix, step: int, images: torch.Tensor) -> torch.Tensor:
    mixture = Mixture(mix, 0, CPU)
    mixture.prepare(step)
    return mixture.images(images)


def test_mixup_blends_each_image_with_the_one_before_it() -> None:
    images, share = torch.rand(3, 3, 32, 32), draw(MIXUP, 0, 7).share
    found = mixed(MIXUP, 7, images)
    for place, before in ((0, 2), (1, 0), (2, 1)):
        torch.testing.assert_close(
            found[place], share * images[place] + (1 - share) * images[before]
        )


def test_cutmix_puts_the_other_images_box_in() -> None:
    images, drawn = torch.rand(3, 3, 32, 32), draw(CUTMIX, 0, 3)
    top, bottom, left, right = drawn.box
    assert 0 < drawn.share < 1
    expected = images.clone()
    for place, before in ((0, 2), (1, 0), (2, 1)):
        box = images[before, :, top:bottom, left:right]
        expected[place, :, top:bottom, left:right] = box
    assert torch.equal(mixed(CUTMIX, 3, images), expected)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_step_learns_from_both_labels(kind: str) -> None:
    """The gradient is that of the cross-entropy with both labels' shares as the target."""
    smoothing = 0.2
    mixing = {"kind": kind, "alpha": 1.0}
    run = new_run(params(label_smoothing=smoothing, mix=mixing, schedule="cosine"), 0.1)
    plain = new_run(params(label_smoothing=smoothing, schedule="cosine"), 0.1)
    (images, labels), *_ = run.batches()
    share = draw(run.settings.train.mix, run.settings.seed, 0).share
    assert run.mixture is not None
    run.mixture.prepare(0)
    logits = plain.model(run.mixture.images(run.normalize(images)))
    target = share * F.one_hot(labels, 10) + (1 - share) * F.one_hot(labels.roll(1, 0), 10)
    loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
    loss.backward()
    plain.optimizer.step()
    run.train_step(images, labels)
    for name, parameter in plain.model.named_parameters():
        torch.testing.assert_close(run.model.get_parameter(name), parameter)
    reported = F.cross_entropy(logits, target, reduction="sum").item()
    right = target.gather(1, logits.argmax(1)[:, None]).sum().item()
    assert run.compute.sums.tolist() == pytest.approx([reported, right], rel=1e-5)
