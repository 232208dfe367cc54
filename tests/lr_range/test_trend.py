"""A loss curve's trend, and when it counts as blown up."""

import numpy as np
import pytest

from src.lr_range.trend import blown_up, roughness, smooth, step_noise
from tests.lr_range.test_curve import LRS, range_test


def test_smooth_keeps_a_straight_line_and_quietens_noise():
    line = np.linspace(2.3, 1.1, 100)
    np.testing.assert_allclose(
        smooth(line)[20:], line[20:]
    )  # before: the cap at the start's median
    noise = np.random.default_rng(0).standard_normal(1000)
    assert smooth(noise).std() < 0.25
    assert smooth(noise[:9]).tolist() == noise[:9].tolist()  # too few for a trend
    assert abs(smooth(noise).mean() - noise.mean()) < 0.02  # the cap lets the noise be


def test_the_noise_is_told_apart_from_the_trend():
    """Of normal noise its standard deviation; locally the mean of its size."""
    losses = np.linspace(5, 1, 5000) + 0.1 * np.random.default_rng(0).standard_normal(5000)
    assert step_noise(losses) == pytest.approx(0.1, rel=0.03)
    assert roughness(losses).mean() == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.03)
    losses[2500:] = np.linspace(3, 1, 2500)
    assert roughness(losses)[4000:].max() < 0.001


def small_batches(seed, size, steps=400):
    """Losses of batches of so many images, whose class the network tells better and better."""
    logits = np.random.default_rng(seed).standard_normal((steps, size, 10))
    logits[:, :, 0] += np.interp(np.arange(steps), [120, 280], [0, 6])[:, None]
    return (np.log(np.exp(logits).sum(2)) - logits[:, :, 0]).mean(1)


def step_of_end(losses, rule):
    """After how many steps a rule first says so; None if never."""
    return next((n for n in range(1, len(losses) + 1) if rule(losses[:n])), None)


def exceeds_five_times_the_lowest(losses):
    """What torch-lr-finder stops by."""
    return losses[-1] > 5 * losses.min()


@pytest.mark.parametrize("size", [2, 4, 8])
def test_noisy_batches_are_no_blow_up(size):
    curves = [small_batches(seed, size) for seed in range(20)]
    ends = [step_of_end(losses, blown_up) for losses in curves]
    assert ends == [None] * 20
    assert all(step_of_end(losses, exceeds_five_times_the_lowest) for losses in curves)


# Two range tests that blew up. The demo's: its first losses, and its last from the lowest on.
DEMO = [2.51, 2.37, 2.26, 2.41, 2.34, 2.44, 2.23, 2.30, 2.32, 2.19, 1.19, 1.42, 1.44, 1.82, 1.47]
DEMO += [1.47, 1.44, 1.63, 1.60, 1.44, 2.08, 2.23, 3.10, 1.60, 2.10, 4.54, 1.54, 3.31, 3.20, 3.05]
DEMO += [5.70, 5.99]
# The default's, on 1,024 images.
DEFAULT = [2.44, 2.41, 2.37, 2.4, 2.36, 2.38, 2.37, 2.34, 2.34, 2.32, 2.33, 2.33, 2.34]
DEFAULT += [2.38, 2.33, 2.44, 2.38, 2.24, 2.36, 2.34, 2.3, 2.71, 2.53, 4.01, 8.61, 11.73]


@pytest.mark.parametrize("losses", [DEMO, DEFAULT], ids=["demo", "default"])
def test_a_gradual_blow_up_ends_where_it_did_before(losses):
    losses = np.array(losses)
    end = step_of_end(losses, exceeds_five_times_the_lowest)
    assert step_of_end(losses, blown_up) == end == len(losses)


@pytest.mark.parametrize("seed", range(20))
def test_a_sudden_blow_up_ends_within_two_steps_more(seed):
    losses = range_test(LRS, 0.1, seed)
    more = step_of_end(losses, blown_up) - step_of_end(losses, exceeds_five_times_the_lowest)
    assert 0 <= more <= 2


@pytest.mark.parametrize(
    "losses", [[np.nan], [2.3, np.inf], [2.3, 50], [2.4, 2.5, 13], [*[2.3] * 40, 0.4, 11.6]]
)
def test_it_is_seen_at_once(losses):
    assert blown_up(losses)
    assert not blown_up([2.4])
    assert not blown_up(losses[:-1] or [2.3])


def test_back_at_the_start_is_no_blow_up():
    """As where training has collapsed to chance: the curve goes on to its end."""
    assert not blown_up([*[2.3] * 40, *[0.1] * 40, *[2.3] * 40])
