"""Reading the curve of a learning-rate range test: where the loss falls, and which rate to take."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src.pipeline.errors import InputError

Curve = NDArray[np.float64]

MIN_POINTS = 10
# A fall is believed when it exceeds this fraction of the starting loss and this many deviations
# of the step noise (more where points are few): at most 1 in 100 flat noisy curves passes.
MIN_FALL_OF_START = 0.01
MIN_FALL_IN_NOISE = 3.0


class Fall(NamedTuple):
    """The curve from the top of its fall to where it blows up or ends."""

    lrs: Curve
    losses: Curve  # smoothed
    slopes: Curve  # per unit of log lr, smoothed once more: a slope is noisier than its curve


def finite_part(lrs: ArrayLike, losses: ArrayLike) -> tuple[Curve, Curve]:
    """Both curves up to the first loss that is NaN, infinite or beyond single precision."""
    lr, loss = np.asarray(lrs, np.float64), np.asarray(losses, np.float64)
    bad = ~(np.abs(loss) <= np.finfo(np.float32).max)  # NaN compares false
    end = int(bad.argmax()) if bad.any() else len(loss)
    return lr[:end], loss[:end]


def smooth(losses: ArrayLike) -> Curve:
    """The trend of the loss, a blow-up capped just above the starting level.

    losses: (n,) finite, n >= MIN_POINTS. Returns (n,).
    An exponential average looks back only: it lags, and every reading moves to larger rates.
    A local linear fit looks both ways and stays unbiased at the ends (Cleveland 1979).
    """
    return _local_linear(_capped(np.asarray(losses, np.float64)))


def suggest(lrs: ArrayLike, losses: ArrayLike) -> dict[str, float]:
    """Four starting rates, by the rules of fastai's lr_find, read off the smoothed curve.

    steep: the steepest fall per log lr; valley: half-way along the fall, in log lr;
    minimum: a tenth of the rate at the lowest loss; slide: the last rate before the loss
    blows up at which the slope is still half of the steepest.
    fastai measures the fall by its longest decreasing subsequence and the slide by a fixed
    difference of gradients; on a noisy curve both ends of that wander, so the fall is
    that of `bounds` and the slide is relative. Raises InputError as `bounds` does.
    """
    fall = _fall(lrs, losses)
    first, last = _ends(fall)
    slopes = fall.slopes[first : last + 1]
    # the second smoothing can leave a fall of one step with no negative slope
    steep = max(slopes.min() / 2, slopes.min())
    return {
        "slide": float(fall.lrs[first + np.flatnonzero(slopes <= steep)[-1]]),
        "steep": float(fall.lrs[first + slopes.argmin()]),
        "valley": float(np.sqrt(fall.lrs[first] * fall.lrs[last])),
        "minimum": _lowest(fall) / 10,
    }


def bounds(lrs: ArrayLike, losses: ArrayLike) -> tuple[float, float]:
    """Where the loss starts to fall, and where it stops falling or turns ragged (Smith 2017, §3.3).

    lrs: (n,) increasing, positive; losses: (n,) raw, per step. Returns base_lr < max_lr.
    Raises InputError for a curve that holds too few finite losses or no believable fall.
    """
    fall = _fall(lrs, losses)
    first, last = _ends(fall)
    return float(fall.lrs[first]), float(fall.lrs[last])


def snap(lr: float, low: float, high: float) -> float:
    """The nearest of 1, 2 and 5 × 10^k on the log scale, within the tested range low to high.

    `lr` itself where the range holds none of them.
    """
    k = int(np.floor(np.log10(lr)))
    # float() of the literal, because 5 * 10.0**k need not be the float that 5e-2 is
    marks = [float(f"{m}e{e}") for e in range(k - 1, k + 2) for m in (1, 2, 5)]
    inside = [mark for mark in marks if low <= mark <= high] or [lr]
    return min(inside, key=lambda mark: abs(np.log(mark / lr)))


def _fall(lrs: ArrayLike, losses: ArrayLike) -> Fall:
    """The first fall at least half as deep as the deepest; a re-fall after a blow-up is not it."""
    lr, loss = finite_part(lrs, losses)
    _refuse_short(lr)
    smoothed = smooth(loss)
    drop = np.maximum.accumulate(smoothed) - smoothed
    _refuse_flat(loss, float(drop.max()))
    deepest = np.maximum.accumulate(drop)
    over = (drop < deepest / 2) | (_roughness(loss) > max(5 * _noise(loss), 0.15 * drop.max()))
    over &= deepest > drop.max() / 2
    end = int(over.argmax()) + 1 if over.any() else len(lr)
    bottom = int(drop[:end].argmax())
    stretch = slice(int(smoothed[:bottom].argmax()), end)
    slopes = _local_linear(np.gradient(smoothed, np.log(lr)))
    return Fall(lr[stretch], smoothed[stretch], slopes[stretch])


def _lowest(fall: Fall) -> float:
    """The centre of the lowest tenth of the fall: noise moves the lowest point itself about."""
    low, high = fall.losses.min(), fall.losses[0]
    depth = np.maximum(0.0, low + 0.1 * (high - low) - fall.losses)
    return float(np.exp(np.average(np.log(fall.lrs), weights=depth)))


def _refuse_short(lr: Curve) -> None:
    if len(lr) < MIN_POINTS:
        raise InputError(
            f"lr_find: the loss blew up after {len(lr)} steps, and {MIN_POINTS} are needed; "
            "lower lr_find.start_lr or raise lr_find.num_iter (params.yaml)"
        )


def _refuse_flat(losses: Curve, drop: float) -> None:
    need = max(
        MIN_FALL_IN_NOISE * (1 + 10 / len(losses)) * _noise(losses),
        MIN_FALL_OF_START * abs(_start(losses)),
        float(np.finfo(np.float32).tiny),  # a loss that starts at 0 has no other measure
    )
    if drop > need:
        return
    rises = _start(losses[::-1]) - _start(losses) > need
    seen = "only rises" if rises else "is flat"
    mend = "lower lr_find.start_lr" if rises else "raise lr_find.end_lr or lr_find.num_iter"
    raise InputError(
        f"lr_find: the loss {seen}: it falls by {drop:.3g}, and less than {need:.3g} cannot be "
        f"told from its noise; {mend} (params.yaml)"
    )


def _ends(fall: Fall) -> tuple[int, int]:
    """The steps at which a tenth and nine tenths of the fall are done, first < last.

    The top and the bottom themselves lie on flat ground, where noise decides the place.
    """
    losses = fall.losses[: fall.losses.argmin() + 1]
    high, low = losses[0], losses[-1]
    # the top is the highest point of a noisy plateau; the second pass starts from its mean
    for _ in range(2):
        first = int(np.flatnonzero(losses > low + 0.9 * (high - low))[-1])
        high = losses[: first + 1].mean()
    reached = losses[first + 1 :] <= low + 0.1 * (high - low)
    return first, first + 1 + int(reached.argmax())


def _local_linear(values: Curve) -> Curve:
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


def _capped(losses: Curve) -> Curve:
    """Losses cut off just above the starting level, so that a blow-up cannot leak to its left."""
    return np.minimum(losses, _start(losses) + 3 * _noise(losses))


def _start(losses: Curve) -> float:
    """The starting level: the median of the first tenth of the steps."""
    return float(np.median(losses[: max(5, len(losses) // 10)]))


def _noise(losses: Curve) -> float:
    """Standard deviation of the step noise, from second differences (blind to the trend).

    Only up to the lowest point: a blow-up behind it can be half of the curve, and is no noise.
    """
    medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, 5), axis=1)
    calm = losses[: max(MIN_POINTS, int(medians.argmin()) + 5)]
    return float(1.4826 * np.median(np.abs(np.diff(calm, 2))) / np.sqrt(6))


def _roughness(losses: Curve) -> Curve:
    """Local size of the step noise, in the units of the loss."""
    jumps = np.abs(np.diff(_capped(losses), 2)) / np.sqrt(6)
    return _local_linear(np.pad(jumps, 1, mode="edge"))
