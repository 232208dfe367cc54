"""Reading the curve of a learning-rate range test: where the loss falls, and which rate to take."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from src.lr_range.trend import (
    MIN_POINTS,
    Curve,
    blown_up,
    capped,
    ceiling,
    finite_part,
    local_linear,
    roughness,
    smooth,
    start_level,
    step_noise,
)

# A fall is believed when it exceeds this fraction of the starting loss and this many deviations
# of the step noise (more where points are few): of flat noisy curves at most 3 in 100 pass.
MIN_FALL_OF_START = 0.01
MIN_FALL_IN_NOISE = 3.0
# A fall that ends with the range is taken for cut off if, over the last half of its width, it still
# is this fraction as fast as over the whole. Of a sigmoid 90% are done at that speed: max_lr then
# lies at the end of the range or beyond it. Chosen on noisy curves (tests/lr_range/test_curve.py).
STILL_FALLING = 0.5
# A loss that rises for good within this share of the steps leaves no room for a fall before it.
EARLY = 0.25


class NoFall(Exception):
    """No rate can be read off a curve: a sentence that says why, and what to change."""


class Fall(NamedTuple):
    """The curve from the top of its fall to where it blows up or ends."""

    lrs: Curve
    losses: Curve  # smoothed
    slopes: Curve  # per unit of log lr, smoothed once more: a slope is noisier than its curve


def find_fall(lrs: ArrayLike, losses: ArrayLike, mode: str) -> Fall:
    """The first fall at least half as deep as the deepest; a re-fall after a blow-up is not it.

    lrs: (n,) increasing, positive; losses: (n,) raw, per step; mode: exponential or linear, whose
    range in params.yaml the errors name. Raises NoFall for a curve that holds too few finite
    losses or no believable fall, or that the end of the range cuts off while it falls.
    """
    lr, loss = finite_part(lrs, losses)
    _refuse_short(lr, mode)
    smoothed = smooth(loss)
    drop = np.maximum.accumulate(smoothed) - smoothed
    _refuse_flat(loss, float(drop.max()), mode)
    deepest = np.maximum.accumulate(drop)
    over = (drop < deepest / 2) | (roughness(loss) > max(5 * step_noise(loss), 0.15 * drop.max()))
    over &= deepest > drop.max() / 2
    end = int(over.argmax()) + 1 if over.any() else len(lr)
    bottom = int(drop[:end].argmax())
    stretch = slice(int(smoothed[:bottom].argmax()), end)
    slopes = local_linear(np.gradient(smoothed, np.log(lr)))
    fall = Fall(lr[stretch], smoothed[stretch], slopes[stretch])
    if not over.any() and len(loss) == np.size(losses) and not blown_up(loss):
        _refuse_cut_off(fall, lr, loss, mode)
    return fall


def suggest(fall: Fall) -> dict[str, float]:
    """Four starting rates, by the rules of fastai's lr_find, read off the smoothed curve.

    steep: the steepest fall per log lr; valley: half-way along the fall, in log lr;
    minimum: a tenth of the rate at the lowest loss; slide: the last rate before the loss
    blows up at which the slope is still half of the steepest.
    fastai measures the fall by its longest decreasing subsequence and the slide by a fixed
    difference of gradients; on a noisy curve both ends of that wander, so the fall is
    that of `find_fall` and the slide is relative.
    """
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


def bounds(fall: Fall) -> tuple[float, float]:
    """Where the loss starts to fall, and where it stops falling or turns ragged (Smith 2017, §3.3).

    Returns base_lr < max_lr.
    """
    first, last = _ends(fall)
    return float(fall.lrs[first]), float(fall.lrs[last])


def snap(lr: float, low: float, high: float) -> float:
    """The nearest of 1, 2 and 5 × 10^k on the log scale, within the tested range low to high.

    Where the range holds none of them, the rate in the range that is nearest to `lr`.
    """
    lr = min(max(lr, low), high)
    k = int(np.floor(np.log10(lr)))
    # float() of the literal, because 5 * 10.0**k need not be the float that 5e-2 is
    marks = [float(f"{m}e{e}") for e in range(k - 1, k + 2) for m in (1, 2, 5)]
    inside = [mark for mark in marks if low <= mark <= high] or [lr]
    return min(inside, key=lambda mark: abs(np.log(mark / lr)))


def _lowest(fall: Fall) -> float:
    """The centre of the lowest tenth of the fall: noise moves the lowest point itself about."""
    low, high = fall.losses.min(), fall.losses[0]
    depth = np.maximum(0.0, low + 0.1 * (high - low) - fall.losses)
    return float(np.exp(np.average(np.log(fall.lrs), weights=depth)))


def _refuse_short(lr: Curve, mode: str) -> None:
    if len(lr) < MIN_POINTS:
        raise NoFall(
            f"the loss blew up after {len(lr)} steps, and {MIN_POINTS} are needed; "
            f"lower {_too_high(mode)} or raise lr_find.num_iter (params.yaml)"
        )


def _refuse_flat(losses: Curve, drop: float, mode: str) -> None:
    need = max(
        MIN_FALL_IN_NOISE * (1 + 10 / len(losses)) * step_noise(losses),
        MIN_FALL_OF_START * abs(start_level(losses)),
        float(np.finfo(np.float32).tiny),  # a loss that starts at 0 has no other measure
    )
    if drop > need:
        return
    seen, mend = "is flat", f"raise lr_find.{mode}.end_lr or lr_find.num_iter"
    if start_level(losses[::-1]) - start_level(losses) > need:
        if _rise(losses) < len(losses) * EARLY:
            seen, mend = "rises from the start", f"lower {_too_high(mode)}"
        else:
            # The range is right, as it reaches the rates that are too high; its steps are few.
            seen = "does not fall clearly before it rises"
            mend = "raise lr_find.num_iter or train.batch_size"
    raise NoFall(
        f"the loss {seen}: its deepest fall is {drop:.3g}, and only one above {need:.3g} counts; "
        f"{mend} (params.yaml)"
    )


def _rise(losses: Curve) -> int:
    """The step from which on the loss stays above its starting level."""
    return int(np.flatnonzero(losses <= ceiling(losses))[-1]) + 1


def _too_high(mode: str) -> str:
    """What to lower for lower rates; the second rate of the linear form depends on end_lr alone."""
    return f"lr_find.{mode}.{'end_lr' if mode == 'linear' else 'start_lr'}"


def _refuse_cut_off(fall: Fall, lrs: Curve, losses: Curve, mode: str) -> None:
    """Refuse a fall that goes on to the last step, where no bottom and no blow-up ends it.

    A stretch behind the fall that took as many steps as the fall shows that it has ended.
    """
    first, last = _ends(fall)
    if len(fall.lrs) - 1 - last >= last - first:
        return
    rates = np.log(lrs)
    width = np.log(fall.lrs[last] / fall.lrs[first])
    speed = (fall.losses[first] - fall.losses[last]) / width
    late = max(5, len(losses) // 8, int((rates > rates[-1] - width / 2).sum()))
    slope = np.polyfit(rates[-late:], capped(losses)[-late:], 1)[0]
    if -slope > STILL_FALLING * speed:
        raise NoFall(
            f"the loss is still falling at {lrs[-1]:g}; raise lr_find.{mode}.end_lr (params.yaml)"
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
