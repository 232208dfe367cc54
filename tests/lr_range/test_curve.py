"""Range-test curves whose fall, bottom and blow-up are known."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.lr_range.curve import NoFall, bounds, find_fall, snap, suggest
from src.lr_range.trend import finite_part, smooth

LRS = np.geomspace(1e-4, 10, 100)
CENTRE, WIDTH, BLOW_UP = -1.8, 0.3, 0.6  # log10 lr
NOTCH = np.log10(2.5)  # the widest of the steps 1-2-5


def nearest(lr):
    """snap in a range that holds every mark."""
    return snap(lr, 1e-12, 1e12)


def range_test(lrs, noise=0.0, seed=0):
    """2.3 falling by 1.2 along a sigmoid in log10 lr, then exploding."""
    x = np.log10(lrs)
    fall = 1.2 / (1 + np.exp(-(x - CENTRE) / WIDTH))
    blow_up = np.minimum(0.2 * np.exp((x - BLOW_UP) / 0.08), 30)
    return 2.3 - fall + blow_up + noise * np.random.default_rng(seed).standard_normal(len(lrs))


def readings(lrs, losses, mode="exponential"):
    fall = find_fall(lrs, losses, mode)
    base_lr, max_lr = bounds(fall)
    return suggest(fall) | {"base_lr": base_lr, "max_lr": max_lr}


def assert_close(found, expected, decades):
    for name, lr in expected.items():
        assert abs(np.log10(found[name] / lr)) < decades, f"{name}: {found[name]} for {lr}"


def sigmoid_at(done):
    return 10 ** (CENTRE + WIDTH * np.log(done / (1 - done)))


# Where the sigmoid has its steepest point, its tenth, its nine tenths, and half its steepest slope.
KNOWN = {
    "steep": 10**CENTRE,
    "valley": 10**CENTRE,
    "base_lr": sigmoid_at(0.1),
    "max_lr": sigmoid_at(0.9),
    "slide": sigmoid_at((1 + np.sqrt(0.5)) / 2),
}


def test_readings_are_where_the_curve_has_them():
    assert_close(readings(LRS, range_test(LRS)), KNOWN, 0.12)


def test_minimum_is_a_tenth_of_the_middle_of_the_valley_floor():
    floor = LRS[range_test(LRS) < 1.1 + 0.12]  # the lowest tenth of the fall
    expected = np.sqrt(floor[0] * floor[-1]) / 10
    assert_close(readings(LRS, range_test(LRS)), {"minimum": expected}, 0.12)


@pytest.mark.parametrize("noise", [0.05, 0.1])
def test_noise_moves_no_snapped_reading_by_more_than_one_notch(noise):
    clean = readings(LRS, range_test(LRS))
    noisy = [readings(LRS, range_test(LRS, noise, seed)) for seed in range(200)]
    for name, lr in clean.items():
        steps = [abs(np.log10(nearest(found[name]) / nearest(lr))) for found in noisy]
        assert np.mean(np.array(steps) <= NOTCH + 1e-9) >= 0.95, name


@pytest.mark.parametrize(("name", "same"), [("steep", 0.9), ("valley", 0.95), ("minimum", 0.95)])
def test_noise_leaves_the_snapped_reading_and_shifts_it_to_neither_side(name, same):
    clean = readings(LRS, range_test(LRS))[name]
    noisy = [readings(LRS, range_test(LRS, 0.05, seed))[name] for seed in range(200)]
    assert np.mean([nearest(lr) == nearest(clean) for lr in noisy]) >= same
    assert abs(np.mean(np.log10(noisy) - np.log10(clean))) < 0.03


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_all_from_the_first_loss_that_is_not_finite_is_cut(bad):
    losses = range_test(LRS, 0.05)
    torn = np.concatenate([losses[:80], [bad], losses[81:]])
    lrs, kept = finite_part(LRS, torn)
    np.testing.assert_array_equal(lrs, LRS[:80])
    np.testing.assert_array_equal(kept, losses[:80])
    assert readings(LRS, torn) == readings(LRS[:80], losses[:80])


@pytest.mark.parametrize("late", [2.3, 1.2, 0.9], ids=["to the start", "to the floor", "below it"])
def test_fall_after_the_blow_up_is_not_taken(late):
    losses = range_test(LRS, 0.02)
    losses[80:90], losses[90:] = 60.0, late
    assert_close(readings(LRS, losses), KNOWN, 0.2)


@pytest.mark.parametrize("seed", range(20))
def test_noise_at_the_start_moves_no_reading_by_a_notch(seed):
    losses = range_test(LRS, 0.02)
    losses[:10] += 0.1 * np.random.default_rng(seed).standard_normal(10)
    losses[2] = 9.0
    assert_close(readings(LRS, losses), KNOWN, NOTCH)


def test_spikes_at_the_start_move_no_reading_by_a_notch():
    losses = range_test(LRS, 0.02)
    losses[[0, 2, 4]] = 9.0
    assert_close(readings(LRS, losses), KNOWN, NOTCH)


@pytest.mark.parametrize("seed", range(20))
def test_a_fall_within_the_first_steps_is_read_from_its_top(seed):
    """As over a linear range, whose first ten steps of a hundred cover a decade and a half."""
    lrs = SPACING["linear"](1e-4, 0.05, 100)
    losses = 1.5 + 0.8 * np.exp(-np.arange(100) / 8)
    losses += 0.02 * np.random.default_rng(seed).standard_normal(100)
    assert smooth(losses)[0] == pytest.approx(2.3, abs=0.1)
    found = readings(lrs, losses, "linear")
    # A tenth of the fall is done after 0.8 steps, nine tenths after 18.
    assert 2e-4 < found["base_lr"] < 1e-3
    assert 1.5e-3 < found["valley"] < 3e-3
    assert 6e-3 < found["max_lr"] < 0.015


def test_raggedness_ends_the_fall():
    x = np.log10(LRS)
    losses = 2.3 - 0.3 * (x + 4)  # a straight fall to the end …
    late = LRS > 0.1
    losses[late] += 0.6 * (-1.0) ** np.arange(late.sum())  # … that shakes from 0.1 on
    assert 0.03 < readings(LRS, losses)["max_lr"] < 0.2


def test_curve_without_a_blow_up():
    losses = 2.3 - 1.2 / (1 + np.exp(-(np.log10(LRS) - CENTRE) / WIDTH))
    assert_close(readings(LRS, losses), KNOWN, 0.12)


@pytest.mark.parametrize("mode", ["exponential", "linear"])
def test_fall_that_goes_on_to_the_last_step_is_refused(mode):
    losses = 2.3 - 0.2 * (np.log10(LRS) + 4)
    with pytest.raises(NoFall) as refusal:
        find_fall(LRS, losses, mode)
    assert str(refusal.value) == (
        f"the loss is still falling at 10; raise lr_find.{mode}.end_lr (params.yaml)"
    )


SPACING = {"exponential": np.geomspace, "linear": np.linspace}


def share_refused(mode, end_lr, steps, noise, seeds=100):
    """Of the curves over 0.0001 to end_lr: how many are said to fall on at its end."""
    lrs = SPACING[mode](1e-4, end_lr, steps)
    refused = 0
    for seed in range(seeds):
        try:
            find_fall(lrs, range_test(lrs, noise, seed), mode)
        except NoFall as error:
            refused += "still falling" in str(error)
    return refused / seeds


@pytest.mark.parametrize("mode", SPACING)
@pytest.mark.parametrize(("steps", "noise"), [(40, 0.05), (100, 0.1), (200, 0.1), (1000, 0.15)])
@pytest.mark.parametrize("done", [0.5, 0.75, 0.85])
def test_fall_that_the_end_of_the_range_cuts_off_is_refused(mode, steps, noise, done):
    assert share_refused(mode, sigmoid_at(done), steps, noise) >= 0.97


@pytest.mark.parametrize("mode", SPACING)
@pytest.mark.parametrize(("steps", "noise"), [(100, 0.05), (200, 0.1), (1000, 0.15)])
@pytest.mark.parametrize("beyond", [1, 3, 10])
def test_fall_that_has_ended_is_read(mode, steps, noise, beyond):
    """Ranges that end where 99% of the fall are done, and beyond it; the last ones blow up."""
    assert share_refused(mode, beyond * sigmoid_at(0.99), steps, noise) <= 0.02


@pytest.mark.parametrize("steps", [20, 40, 100, 1000])
@pytest.mark.parametrize("noise", [0, 0.1, 0.2])
def test_curve_that_blows_up_is_never_said_to_fall_on(steps, noise):
    assert share_refused("exponential", 10, steps, noise) == 0


@pytest.mark.parametrize("last", [12.0, np.inf, np.nan])
def test_blow_up_from_the_middle_of_the_fall_is_read(last):
    """The rate can't be raised further there."""
    steps = np.searchsorted(LRS, sigmoid_at(0.6))
    losses = np.r_[range_test(LRS[:steps], 0.02), last]
    lrs = LRS[: len(losses)]
    found = readings(lrs, losses)
    assert found["base_lr"] < found["slide"] <= found["max_lr"] <= lrs[-1]


def test_fall_that_begins_with_the_first_step_is_read():
    """Many curves do; only base_lr is then bound to the range."""
    lrs = np.geomspace(10**CENTRE, 10, 100)
    found = readings(lrs, range_test(lrs, 0.02))
    assert_close(found, {"base_lr": lrs[0], "max_lr": KNOWN["max_lr"]}, NOTCH)


def test_linear_spacing():
    lrs = np.linspace(1e-3, 0.3, 150)
    losses = 2.3 - 1.2 / (1 + np.exp(-(np.log10(lrs) + 1.2) / 0.1))
    centre = 10**-1.2
    ends = {"base_lr": 10 ** (-1.2 - 0.22), "max_lr": 10 ** (-1.2 + 0.22)}
    expected = {"steep": centre, "valley": centre} | ends
    assert_close(readings(lrs, losses, "linear"), expected, 0.12)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (np.r_[np.nan, range_test(LRS)[1:]], r"blew up after 0 steps.*lower lr_find\.{lower} or"),
        (range_test(LRS)[:9], r"blew up after 9 steps.*lower lr_find\.{lower} or .*num_iter"),
        (np.full(100, 2.303), r"is flat.*raise lr_find\.{mode}\.end_lr or lr_find\.num_iter"),
        (np.zeros(100), "is flat"),
        (np.repeat([0.0, -5e-324], 50), "is flat"),
        (2.303 - 0.01 * np.linspace(0, 1, 100), "is flat"),
        (2.303 + np.linspace(0, 3, 100), r"rises from the start.*lower lr_find\.{lower} "),
        (np.r_[np.full(10, 2.303), np.geomspace(2.303, 50, 90)], "rises from the start"),
        (
            np.r_[np.full(60, 2.303), np.geomspace(2.303, 50, 40)],
            r"does not fall clearly before it rises.*raise lr_find\.num_iter or train\.batch_size",
        ),
    ],
)
@pytest.mark.parametrize(
    ("mode", "lower"), [("exponential", "exponential.start_lr"), ("linear", "linear.end_lr")]
)
def test_curve_that_says_nothing_is_refused(losses, said, mode, lower):
    with pytest.raises(NoFall, match=said.format(mode=mode, lower=lower)):
        find_fall(LRS[: len(losses)], losses, mode)


@pytest.mark.parametrize("steps", [10, 20, 40, 100, 200])
def test_flat_noise_is_refused(steps):
    lrs, refused = np.geomspace(1e-4, 10, steps), 0
    for seed in range(200):
        try:
            losses = 2.303 + 0.1 * np.random.default_rng(seed).standard_normal(steps)
            find_fall(lrs, losses, "exponential")
        except NoFall as error:
            refused += "is flat" in str(error)
    assert refused >= 0.97 * 200


LOSS = st.one_of(
    st.floats(0, 5), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 2.3])
)


@settings(max_examples=300)
@given(st.lists(LOSS, max_size=60), st.booleans())
@example([0, 2, 1, 0, 3, 3, 3, 3, 3, 3], False)  # no negative slope after the second smoothing
@example([1, 0, -1, 1, 1, 1, 1, 1, 1, 0, 1], False)  # ragged where it first falls
def test_any_curve_is_refused_or_read_within_its_range(losses, linear):
    mode = "linear" if linear else "exponential"
    lrs = SPACING[mode](1e-4, 10.0, len(losses))
    try:
        found = readings(lrs, losses, mode)
    except NoFall:
        return
    for lr in found.values():
        assert lrs[0] / 10 <= lr <= lrs[-1]
    assert lrs[0] <= found["base_lr"] < found["max_lr"] <= lrs[-1]


def test_snap_gives_the_nearest_on_the_log_scale():
    lrs = (0.0499, 0.05, 9e-4, 0.14, 0.15, 0.31, 0.33, 3e-5, 8.0)
    assert [nearest(lr) for lr in lrs] == [0.05, 0.05, 1e-3, 0.1, 0.2, 0.2, 0.5, 2e-5, 10.0]


@pytest.mark.parametrize("literal", [f"{m}e{k}" for k in range(-9, 4) for m in (1, 2, 5)])
def test_snap_gives_the_float_of_the_literal(literal):
    assert nearest(1.1 * float(literal)) == float(literal)


@given(st.floats(1e-9, 1e3))
def test_snap_is_idempotent_and_near(lr):
    snapped = nearest(lr)
    assert nearest(snapped) == snapped
    assert f"{snapped:.0e}"[0] in "125"
    assert max(snapped / lr, lr / snapped) <= np.sqrt(2.5) * (1 + 1e-12)


def test_snap_stays_in_the_tested_range():
    assert snap(0.34, 1e-4, 0.35) == 0.2
    assert snap(0.00013, 0.00012, 1.0) == 0.0002
    assert snap(0.034, 0.03, 0.04) == 0.034
    assert snap(0.006, 0.06, 1.0) == 0.1  # as a `minimum` of a tenth of the lowest rate
    assert snap(0.0034, 0.03, 0.04) == 0.03


def test_the_ends_of_the_tested_range_are_in_it():
    assert snap(1e-5, 1e-4, 1.0) == snap(1.1e-4, 1e-4, 1.0) == 1e-4
    assert snap(3.0, 1e-4, 1.0) == snap(0.9, 1e-4, 1.0) == 1.0


@given(*[st.floats(1e-9, 1e3)] * 3)
def test_snap_is_in_the_tested_range_whatever_was_measured(lr, low, high):
    low, high = sorted((low, high))
    assert low <= snap(lr, low, high) <= high
