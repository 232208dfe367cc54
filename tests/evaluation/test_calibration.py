"""Calibration gives the right bins, error and temperature."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from src.evaluation.calibration import (
    NoTemperature,
    calibrate,
    calibrate_adaptively,
    class_errors,
    fit_temperature,
    round_up,
    slope,
    standard_error,
)
from src.evaluation.confidence import confidence_and_right
from src.evaluation.metrics import evaluate, tables
from tests.evaluation.test_metrics import LABELS, LOGITS, NAMES

TENTHS = torch.arange(100) % 10


def test_calibration_error_is_the_weighted_gap() -> None:
    result = evaluate(LOGITS, LABELS, NAMES, None)
    bins, error = result.calibration["as trained"]
    assert len(bins) == 15
    assert sum(count for *_, count in bins) == 5
    probabilities = LOGITS.softmax(1)
    theirs = multiclass_calibration_error(probabilities, LABELS, len(NAMES), n_bins=15)
    assert error == pytest.approx(theirs.item(), rel=1e-5)
    header, rows = tables(result, LOGITS, LABELS, NAMES)["calibration"]
    assert header == ("confidence", "accuracy", "images")
    assert rows == [row for row in bins if row.images]
    assert len(rows) < len(bins)


def test_an_empty_bin_has_the_confidence_of_its_middle() -> None:
    bins, _ = calibrate(np.array([0.95]), np.array([1.0]))
    assert bins[14] == (0.95, 1.0, 1)
    middles = [n / 30 for n in range(1, 29, 2)]  # of 15 bins: a thirtieth, three, five, …
    assert [row.confidence for row in bins[:14]] == pytest.approx(middles)
    assert {row[1:] for row in bins[:14]} == {(0.0, 0)}


def test_what_is_certain_is_in_the_last_bin() -> None:
    logits = torch.tensor([[0.0, 40.0], [40.0, 0.0], [0.0, 3.0]])
    bins, error = evaluate(logits, torch.tensor([1, 1, 1]), ["a", "b"], None).calibration[
        "as trained"
    ]
    confidence = (2 + torch.tensor(3.0).sigmoid().item()) / 3
    assert bins[-1] == pytest.approx((confidence, 2 / 3, 3))
    assert error == pytest.approx(confidence - 2 / 3)


def test_bins_of_equal_mass_have_the_same_number_of_images() -> None:
    """167 images in 15 bins: two of twelve, thirteen of eleven, from the least sure on."""
    confidence = np.linspace(0.1, 0.93, 167)
    right = (np.arange(167) % 2).astype(float)
    shuffled = np.random.default_rng(0).permutation(167)
    bins, error = calibrate_adaptively(confidence[shuffled], right[shuffled])
    assert [count for *_, count in bins] == [12, 12] + [11] * 13
    assert bins[0] == pytest.approx((0.1275, 0.5, 12))
    assert bins[2] == pytest.approx((0.245, 5 / 11, 11))
    assert bins[-1] == pytest.approx((0.905, 5 / 11, 11))
    # Of the bins of eleven, every other one begins with a right image and has one more of them.
    elevens = [abs(0.245 + 0.055 * step - (5 + step % 2) / 11) for step in range(13)]
    twelves = [0.5 - 0.1275, 0.5 - 0.1875]
    assert error == pytest.approx((12 * sum(twelves) + 11 * sum(elevens)) / 167)


@pytest.mark.parametrize(
    ("images", "sizes"), [(1, [1]), (19, [19]), (20, [10, 10]), (149, [*[11] * 9, *[10] * 5])]
)
def test_a_bin_of_equal_mass_has_ten_images_or_all(images: int, sizes: list[int]) -> None:
    bins, _ = calibrate_adaptively(np.linspace(0.5, 0.9, images), np.ones(images))
    assert [row.images for row in bins] == sizes


def test_the_error_of_one_bin_is_its_gap() -> None:
    bins, error = calibrate_adaptively(np.array([0.9, 0.5]), np.array([1.0, 0.0]))
    assert bins == [pytest.approx((0.7, 0.5, 2))]
    assert error == pytest.approx(0.2)


def test_images_of_one_confidence_may_stand_in_any_order() -> None:
    """Half of the images have a confidence of exactly 1, and a fifth of those are wrong."""
    labels = torch.arange(100) % 5
    logits = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    logits[:50] = 200.0 * F.one_hot(torch.where(torch.arange(50) < 10, 0, labels[:50]), 5)
    orders = [torch.arange(100), torch.arange(100).flip(0)]
    both = [confidence_and_right(logits[order], labels[order]) for order in orders]
    assert (both[0][0][:50] == 1).all()
    errors = [calibrate_adaptively(*answers).error for answers in both]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)
    assert both[0][1].sum() == (logits.argmax(1) == labels).sum()
    assert both[0][1][:50] == pytest.approx(0.84)


def test_sure_images_keep_their_order() -> None:
    """In fp32 each of these would have a confidence of exactly 1, and half of them be right."""
    leads = torch.tensor([18.0, 25.0, 21.0, 30.0])
    logits = torch.stack([leads, torch.zeros(4)], 1)
    confidence, right = confidence_and_right(logits, torch.tensor([1, 0, 1, 0]))
    assert np.argsort(confidence).tolist() == [0, 2, 1, 3]
    assert right.tolist() == [0, 1, 0, 1]
    assert 1 - confidence == pytest.approx(torch.exp(-leads.double()).numpy(), rel=1e-2)


def test_both_errors_are_near_0_where_the_network_is_calibrated() -> None:
    answers = confidence_and_right(*calibrated(20_000))
    assert calibrate(*answers).error < 0.015
    assert calibrate_adaptively(*answers).error < 0.015


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_each_classs_error_is_that_of_torchmetrics(scale: float) -> None:
    logits, labels = calibrated(500)
    probabilities = (scale * logits).softmax(1)
    ours = class_errors(probabilities.numpy(), labels.numpy())
    for number, error in enumerate(ours):
        of_class = probabilities[:, number].contiguous()
        theirs = binary_calibration_error(of_class, labels == number, n_bins=15)
        assert error == pytest.approx(theirs.item(), rel=1e-4)


def calibrated(images: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax tells how often each class is right: their temperature is 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, 5, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def test_temperature_undoes_a_scaling() -> None:
    logits, labels = calibrated(4000)
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)
    result = evaluate(3 * logits, labels, list("abcde"), 3.0)
    assert result.metrics["ece_calibrated"] < 0.3 * result.metrics["ece"]
    assert result.metrics["temperature"] == 3.0


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_temperature_has_the_least_cross_entropy(scale: float) -> None:
    logits, labels = calibrated(200)
    logits *= scale

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / np.exp(log_temperature), labels).item()

    def slope(log_temperature: float) -> float:
        return loss(log_temperature + 1e-4) - loss(log_temperature - 1e-4)

    assert fit_temperature(logits, labels) == pytest.approx(np.exp(brentq(slope, -3, 3)), rel=1e-3)


@pytest.mark.parametrize("gap", [0.01, 1.0, 9.0, 300.0])
@pytest.mark.parametrize("images", [1, 7, 2000])
def test_images_that_are_all_right_tell_no_temperature(gap: float, images: int) -> None:
    labels = torch.arange(images) % 10
    logits = gap * F.one_hot(labels, 10) + 0.001 * torch.randn(10)
    with pytest.raises(NoTemperature, match=r"^are too well classified: it would be below 0.05$"):
        fit_temperature(logits, labels)


@pytest.mark.parametrize(
    ("told", "gap"),
    [(0 * TENTHS, 9.0), ((TENTHS + 1) % 10, 9.0), (TENTHS, 0.0)],
    ids=["right by chance", "never right", "says nothing"],
)
def test_images_that_are_wrong_tell_no_temperature(told: Tensor, gap: float) -> None:
    labels, logits = TENTHS, gap * F.one_hot(told, 10)
    said = "are classified no better than by chance, or too surely wrong: it would be above 20"
    with pytest.raises(NoTemperature, match=f"^{said}$"):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("images", [1, 3, 10])
def test_a_few_images_tell_no_temperature(images: int) -> None:
    for seed in range(8):
        with pytest.raises(NoTemperature):
            fit_temperature(*calibrated(images, seed))


def test_how_many_images_it_takes_is_said() -> None:
    with pytest.raises(NoTemperature) as why:
        fit_temperature(*calibrated(10, 1))
    assert str(why.value) == "are too few: for this network it takes about 16"
    assert 0.5 < fit_temperature(*calibrated(30, 1)) < 2


def test_so_many_images_are_enough() -> None:
    """Rounded up: 1,045 are not "about 1,000" where there are 1,040."""
    numbers = (15.01, 16.0, 99.2, 100.0, 1045.0, 3.0)
    assert [round_up(number) for number in numbers] == [16, 16, 100, 100, 1100, 3]


def test_slope_and_standard_error_are_those_of_the_loss() -> None:
    logits, labels = calibrated(300)
    best = math.log(fit_temperature(logits, labels))

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / math.exp(log_temperature)
        return F.cross_entropy(scaled, labels, reduction="sum").item()

    step = 1e-3
    for place in (-1.0, 0.5):
        difference = (loss(place + step) - loss(place - step)) / (2 * step)
        assert slope(logits, labels, place) == pytest.approx(difference / 300, rel=1e-4)
    second = (loss(best + step) - 2 * loss(best) + loss(best - step)) / step**2
    assert standard_error(logits, best) == pytest.approx(1 / math.sqrt(second), rel=1e-3)


def test_the_standard_error_is_the_spread_between_samples() -> None:
    found = [math.log(fit_temperature(*calibrated(100, seed))) for seed in range(60)]
    assert np.std(found) == pytest.approx(standard_error(calibrated(100)[0], 0.0), rel=0.3)
