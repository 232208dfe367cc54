"""Augmentation: keyed draws, and what is refused before training."""

from typing import Any

import albumentations
import numpy as np
import pytest
from albumentations import HorizontalFlip

from src.data.augment import Augment, draw_examples
from src.data.records import Split
from src.pipeline.errors import InputError
from src.sources.shapes import draw
from tests.tiny import PLAIN


@pytest.fixture(scope="module")
def split() -> Split:
    images, labels, _ = draw(50, 0)
    return Split(images, labels)


def test_seeds_and_images_have_draws_of_their_own(split: Split) -> None:
    image = split.images[0]
    one, other = Augment(PLAIN, 5), Augment(PLAIN, 6)
    assert len({augment(image, 0, i).tobytes() for augment in (one, other) for i in range(8)}) > 12
    assert one(image, 3, 7).tobytes() == one(image, 3, 7).tobytes()


PAD, CROP, FLIP = PLAIN[:3]
ALWAYS = {"HorizontalFlip": {"p": 1.0}}
CHOICE = {"OneOf": {"transforms": [ALWAYS, {"NoOp": {"p": 1.0}}], "p": 1.0}}
ORDERS = [{"Sequential": {"transforms": order, "p": 1.0}} for order in ([CROP, FLIP], [FLIP, CROP])]
NESTED: dict[str, list[dict[str, Any]]] = {
    "alone": [PAD, CROP, FLIP],
    "a choice after a crop": [PAD, CROP, CHOICE],
    "a choice before a crop": [PAD, CHOICE, CROP],
    "both in a choice": [PAD, {"OneOf": {"transforms": ORDERS, "p": 1.0}}],
    "in any order": [PAD, {"RandomOrder": {"transforms": [CROP, FLIP], "n": 2, "p": 1.0}}],
    "some of them": [PAD, {"SomeOf": {"transforms": [CROP, FLIP], "n": 2, "p": 1.0}}],
    "one or other": [
        PAD,
        CROP,
        {"OneOrOther": {"transforms": [ALWAYS, {"NoOp": {"p": 1.0}}], "p": 0.5}},
    ],
}


@pytest.mark.parametrize("name", NESTED)
def test_flip_and_crop_are_uncorrelated(name: str) -> None:
    """Over 2,000 draws: Albumentations' own seeding gives both the same stream."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None], (32, 32, 3)).copy()
    rows = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None], (32, 32, 3))
    ramp[:, :, 1] = rows[:, :, 1]
    augment = Augment(NESTED[name], 0)
    draws = [augment(ramp, 0, index) for index in range(2000)]
    flips = np.array([float(draw[16, 10, 0]) > float(draw[16, 20, 0]) for draw in draws])
    shifts = np.array([float(draw[16, 16, 1]) for draw in draws])
    assert 0.45 < flips.mean() < 0.55
    assert len(set(shifts)) == 5
    # The standard error of a correlation of independent draws is 1/sqrt(2000) = 0.022.
    assert abs(np.corrcoef(flips, shifts)[0, 1]) < 0.09
    epochs = [augment(ramp, epoch, 0) for epoch in range(200)]
    assert len({draw.tobytes() for draw in epochs}) > 30
    assert augment(ramp, 0, 7).tobytes() == draws[7].tobytes()


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        ({"HorizontalFlop": {"p": 0.5}}, r"augment\.HorizontalFlop: is not a transform"),
        ({"Compose": {"p": 0.5}}, r"augment\.Compose: is not a transform"),
        ({"HorizontalFlip": {"q": 1, "p": 0.5}}, r"augment\.HorizontalFlip: .*'q'"),
        (
            {"HorizontalFlip": {"p": 2.0}},
            r"augment\.HorizontalFlip: p: 2\.0: .*than or equal to 1 \(",
        ),
        ({"RandomCrop": {"height": "a", "p": 1.0}}, r"height: 'a': .*integer.*; width: Field req"),
        ({"CoarseDropout": {"fill": "pink", "p": 1.0}}, "fill: 'pink': .*tuple or .*number.* or "),
        (
            {"RandomCrop": {"height": 64, "width": 64, "p": 1.0}},
            r"\.RandomCrop: fails on an image",
        ),
        ({"RandomCrop": {"height": 16, "width": 16, "p": 1.0}}, r"must return 32×32×3.*16×16×3"),
        ({"ToFloat": {"p": 1.0}}, "must return 32×32×3 uint8, not 32×32×3 float32"),
        ({"ToGray": {"p": 1.0, "num_output_channels": 1}}, "must return 32×32×3 uint8"),
    ],
)
def test_a_bad_pipeline_is_refused_by_name(transform: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Augment([transform], 0)


def test_a_transform_that_is_seldom_applied_is_refused_too() -> None:
    """By the check before training, not hours later by chance."""
    with pytest.raises(InputError, match="must return 32×32×3 uint8"):
        Augment([{"ToFloat": {"p": 1e-6}}], 0)
    Augment([{"ToFloat": {"p": 0.0}}], 0)


class TooLarge(HorizontalFlip):
    def apply(self, *_: Any, **__: Any) -> Any:
        raise MemoryError("Unable to allocate 9 TiB")


def test_a_transform_that_asks_for_more_memory_than_there_is_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As PadIfNeeded to a million pixels: of one image it is the transform's fault."""
    monkeypatch.setattr(albumentations, "TooLarge", TooLarge, raising=False)
    said = r"^augment\.TooLarge: fails on an image: Unable to allocate 9 TiB \(params\.yaml\)$"
    with pytest.raises(InputError, match=said):
        Augment([{"TooLarge": {"p": 1.0}}], 0)


def test_an_empty_pipeline_leaves_images_alone(split: Split) -> None:
    assert (Augment([], 0)(split.images[0], 0, 0) == split.images[0]).all()


def test_examples_show_what_training_sees(split: Split) -> None:
    originals, draws, labels = draw_examples(split, Augment(PLAIN, 5))
    assert originals.shape == (6, 32, 32, 3)
    assert draws.shape == (6, 8, 32, 32, 3)
    assert labels == list(range(6))
    index = int(np.flatnonzero(split.labels == 2)[0])
    assert (draws[2, 3] == Augment(PLAIN, 5)(split.images[index], 3, index)).all()
