"""A noisy loss curve: its trend, its starting level, its noise, and whether it has blown up."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Curve = NDArray[np.float64]

MIN_POINTS = 10
BLOW_UP = 5.0  # as in torch-lr-finder, but see blown_up


def finite_part(lrs: ArrayLike, losses: ArrayLike) -> tuple[Curve, Curve]:
    """Both curves up to the first loss that is NaN, infinite or beyond single precision."""
    lr, loss = np.asarray(lrs, np.float64), np.asarray(losses, np.float64)
    bad = ~(np.abs(loss) <= np.finfo(np.float32).max)  # NaN compares false
    end = int(bad.argmax()) if bad.any() else len(loss)
    return lr[:end], loss[:end]


def smooth(losses: ArrayLike) -> Curve:
    """The trend of the loss, a blow-up capped just above the starting level.

    losses: (n,) finite. Returns (n,); as they are where they are fewer than MIN_POINTS.
    An exponential average looks back only: it lags, and every reading moves to larger rates.
    A local linear fit looks both ways and stays unbiased at the ends (Cleveland 1979).
    """
    values = np.asarray(losses, np.float64)
    return local_linear(capped(values)) if len(values) >= MIN_POINTS else values


def blown_up(losses: ArrayLike) -> bool:
    """Whether the last loss of a range test says that training has blown up.

    losses: (n,) raw, n >= 1. A loss that is not finite says so at once. Else the loss must exceed
    5 times the lowest, which is the whole rule of torch-lr-finder. With many steps or small
    batches the lowest is far below the starting level, and a single noisy batch can exceed it 5
    times. So the loss must also exceed 5 times the starting level, or the median of the last 5
    losses must lie above the starting level and its noise.
    """
    loss = np.asarray(losses, np.float64)
    if not np.isfinite(loss[-1]):
        return True
    if loss[-1] <= BLOW_UP * loss.min():
        return False
    # The first loss is that of the untrained network, even where the second has blown up.
    if loss[-1] > BLOW_UP * min(loss[0], start_level(loss)):
        return True
    return len(loss) >= MIN_POINTS and bool(np.median(loss[-5:]) > ceiling(loss))


def local_linear(values: Curve) -> Curve:
    """A straight line fitted around each step, weighted by a Gaussian window.

    Its deviation is 4% of the steps: 0.2 decades when the test spans five.
    """
    width = max(1.0, 0.04 * len(values))
    t = np.arange(-int(3 * width), int(3 * width) + 1)
    window = np.exp(-0.5 * (t / width) ** 2)

    def moment(of: Curve, power: int) -> Curve:
        return np.convolve(of, window * t**power, mode="same")

    s0, s1, s2 = (moment(np.ones_like(values), power) for power in range(3))
    fitted: Curve = (s2 * moment(values, 0) - s1 * moment(values, 1)) / (s0 * s2 - s1**2)
    return fitted


def capped(losses: Curve) -> Curve:
    """Losses cut off just above the starting level, so that a blow-up cannot leak to its left."""
    return np.minimum(losses, ceiling(losses))


def ceiling(losses: Curve) -> float:
    """Just above the starting level: noise alone does not lift a loss of the start over it."""
    return start_level(losses) + 3 * step_noise(losses)


def start_level(losses: Curve) -> float:
    """The starting level: the median of the first tenth of the steps.

    Where the loss already falls there, clearly beyond its noise, as over a linear range: the first
    value of a line through them. Its slope is the median over the points of their median slopes to
    the others, which a third of the points cannot spoil (Siegel 1982).
    """
    first = losses[: max(5, len(losses) // 10)]
    level = float(np.median(first))
    if len(losses) < MIN_POINTS:
        return level
    steps = np.arange(len(first), dtype=np.float64)
    apart = steps - steps[:, None] + np.diag(np.full(len(first), np.nan))
    slope = np.median(np.nanmedian((first - first[:, None]) / apart, axis=1))
    noise = max(step_noise(first), step_noise(losses))
    return float(np.median(first - slope * steps)) if -slope * steps[-1] > 3 * noise else level


def step_noise(losses: Curve) -> float:
    """Standard deviation of the step noise, from second differences (blind to the trend).

    Only up to the lowest point: a blow-up behind it can be half of the curve, and is no noise.
    """
    medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, 5), axis=1)
    calm = losses[: max(MIN_POINTS, int(medians.argmin()) + 5)]
    return float(1.4826 * np.median(np.abs(np.diff(calm, 2))) / np.sqrt(6))


def roughness(losses: Curve) -> Curve:
    """Local size of the step noise, in the units of the loss."""
    jumps = np.abs(np.diff(capped(losses), 2)) / np.sqrt(6)
    return local_linear(np.pad(jumps, 1, mode="edge"))
