"""Every transform that Albumentations exports is used, or refused before training by name."""

import inspect
import json
import os
import subprocess
import sys
from typing import Any

import albumentations
import numpy as np
import pytest
from albumentations import BaseCompose, BasicTransform

from src.data import augment as augmentation
from src.data.augment import Augment
from src.data.transforms import Transform, variants
from src.pipeline.errors import InputError
from src.pipeline.rules import COMPOSITIONS, check_transform
from src.sources.shapes import draw
from tests.conftest import ROOT


def test_albumentations_is_kept_from_asking_for_a_newer_version() -> None:
    """In a process of its own, because the tests' own environment has the variable."""
    code = "import os, src.data.transforms; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    env = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout == "1\n"


EXPORTED = sorted(
    name
    for name, kind in vars(albumentations).items()
    if isinstance(kind, type) and issubclass(kind, BasicTransform | BaseCompose)
)
# By which a transform without defaults works on 32×32 pixels.
USUAL = {
    "height": 32, "width": 32, "size": [32, 32], "num_grid_xy": [4, 4], "magnitude": 5,
    "min_max_height": [20, 32], "font_path": "font.ttf", "padding": 0,
    "transforms": [{"Rotate": {"p": 0.5}}, {"HorizontalFlip": {"p": 1.0}}],
}  # fmt: skip
# Whose defaults are not for such images, or are none.
OWN: dict[str, dict[str, Any]] = {
    "CenterCrop3D": {"size": [4, 32, 32]},
    "Crop": {"x_max": 32, "y_max": 32},
    "CropAndPad": {"px": [-2, 2]},
    "LongestMaxSize": {"max_size": 32},
    "OneOrOther": {"transforms": USUAL["transforms"]},
    "PadIfNeeded": {"min_height": 32, "min_width": 32},
    "PadIfNeeded3D": {"min_zyx": [1, 32, 32]},
    "RandomCrop3D": {"size": [4, 32, 32]},
    "SmallestMaxSize": {"max_size": 32},
    "TimeMasking": {"time_mask_param": 8},
}
NO_IMAGES = "is not a transform of Albumentations for images"
REFUSED = {
    "BBoxSafeRandomCrop": "needs bboxes, which the images here do not have",
    "BaseCompose": NO_IMAGES,
    "BasicTransform": NO_IMAGES,
    "CenterCrop3D": NO_IMAGES,
    "CoarseDropout3D": NO_IMAGES,
    "Compose": NO_IMAGES,
    "ConstrainedCoarseDropout": "does nothing here .Neither valid mask nor bboxes provided",
    "CropNonEmptyMaskIfExists": "fails on an image: Can not find mask",
    "CubicSymmetry": NO_IMAGES,
    "DualTransform": NO_IMAGES,
    "FDA": "needs fda_metadata",
    "FromFloat": "must return 32×32×3 uint8, not 32×32×3 float16",
    "HistogramMatching": "needs hm_metadata",
    "ImageOnlyTransform": NO_IMAGES,
    "Lambda": "has no place here: it needs functions",
    "MaskDropout": "needs mask, which",
    "Mosaic": "needs mosaic_metadata",
    "Normalize": "has no place here: images stay uint8",
    "OverlayElements": "needs overlay_metadata",
    "Pad3D": NO_IMAGES,
    "PadIfNeeded3D": NO_IMAGES,
    "PixelDistributionAdaptation": "needs pda_metadata",
    "RandomCrop3D": NO_IMAGES,
    "RandomCropFromBorders": r"must return 32×32×3 uint8, not \d\d×\d\d×3",
    "RandomCropNearBBox": "needs cropping_bbox",
    "RandomScale": r"must return 32×32×3 uint8, not \d\d×\d\d×3",
    "RandomSizedBBoxSafeCrop": "needs bboxes",
    "ReplayCompose": NO_IMAGES,
    "TextImage": "needs textimage_metadata",
    "ToFloat": "must return 32×32×3 uint8, not 32×32×3 float32",
    "ToRGB": "does nothing here .The image is already an RGB",
    "ToTensor3D": NO_IMAGES,
    "ToTensorV2": "has no place here: images stay uint8",
    "Transform3D": NO_IMAGES,
}
# Advice about the choice of a transform, which works all the same.
ADVICE = ("PiecewiseAffine", "ShiftScaleRotate", "FrequencyMasking", "TimeMasking", "TimeReverse")
KEYS = [(epoch, index) for epoch in (0, 7) for index in (0, 3, 4_000_000_000)]


def minimal(name: str) -> Transform:
    """An entry of params.yaml with the fewest right arguments."""
    parameters = inspect.signature(getattr(albumentations, name)).parameters
    needed = {k for k, p in parameters.items() if p.default is p.empty}
    given = OWN.get(name, {k: v for k, v in USUAL.items() if k in needed})
    return {name: {**given, "p": 0.5}}


def draws(entries: list[Transform], keys: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """What a new pipeline makes of a drawn image by each key."""
    image = draw(4, 0)[0][3]
    augment = Augment(entries, 5)
    results = {key: augment(image.copy(), *key) for key in keys}
    assert all(r.shape == (32, 32, 3) and r.dtype == np.uint8 for r in results.values())
    return {key: result.tobytes() for key, result in results.items()}


@pytest.mark.filterwarnings(f"ignore:({'|'.join(ADVICE)}|This augmenter is very slow)")
@pytest.mark.parametrize("name", [name for name in EXPORTED if name not in REFUSED])
def test_it_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key has its own draw, whatever came before, alone and inside others."""
    monkeypatch.setattr(augmentation, "CHECKED_DRAWS", 6)
    entry = minimal(name)
    check_transform(entry)
    assert draws([entry], KEYS) == draws([entry], KEYS[::-1])
    inside = {"OneOf": {"transforms": [entry, {"NoOp": {"p": 0.5}}], "p": 0.9}}
    pair: list[Transform] = [{"Sequential": {"transforms": [inside, entry], "p": 0.9}}]
    check_transform(pair[0])
    assert draws(pair, KEYS) == draws(pair, KEYS[::-1])


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    assert name in EXPORTED
    entry = minimal(name)

    def use() -> None:
        check_transform(entry)
        Augment([entry], 0)

    with pytest.raises((InputError, ValueError), match=REFUSED[name]) as raised:
        use()
    # The size and type are those of the whole list's result.
    assert name in str(raised.value) or "must return" in REFUSED[name]


def test_those_that_hold_others_are_known() -> None:
    kinds = {name for name in EXPORTED if issubclass(getattr(albumentations, name), BaseCompose)}
    assert kinds - REFUSED.keys() == set(COMPOSITIONS)


FLIP: Transform = {"HorizontalFlip": {"p": 1.0}}


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"RandomRotate90": {"q": 1, "p": 1.0}}, r"augment\.RandomRotate90: has no argument 'q'"),
        ({"RandomRotate90": {"strict": False, "p": 1.0}}, "has no argument 'strict', only p "),
        ({"MedianBlur": {"blur_limit": "a", "p": 1.0}}, r"augment\.MedianBlur: blur_limit: 'a': "),
        ({"Blur": {"blur_limit": [4, 8], "p": 1.0}}, r"\(4, 8\) automatically adjusted to \(5, 9"),
        ({"MedianBlur": {"blur_limit": [4, 8], "p": 1.0}}, r"automatically adjusted to \(5, 9"),
        ({"SomeOf": {"transforms": [FLIP], "n": "a", "p": 1.0}}, r"augment\.SomeOf: n: 'a': "),
        ({"SomeOf": {"transforms": [FLIP], "n": 2, "p": 1.0}}, "`n` will be set to 1"),
        ({"SomeOf": {"transforms": [FLIP], "m": 2, "p": 1.0}}, "has no argument 'm', only tran"),
        ({"SomeOf": {"transforms": [FLIP], "n": -1, "p": 1.0}}, r"augment\.SomeOf: fails on an"),
        ({"OneOrOther": {"transforms": [FLIP, FLIP], "first": FLIP, "p": 1.0}}, "first: "),
        ({"OneOf": {"transforms": [{"Flop": {"p": 1.0}}], "p": 1.0}}, r"augment\.OneOf\.Flop: is"),
        (
            {"SelectiveChannelTransform": {"transforms": [FLIP], "channels": [3], "p": 1.0}},
            r"augment\.SelectiveChannelTransform: fails on an image: index 3",
        ),
        ({"FDA": {"reference_images": ["a.png"], "p": 1.0}}, "files that DVC does not track"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(entry: Transform, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as raised:
        Augment([entry], 0)
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).endswith(" (params.yaml)")


def seldom(name: str, bad: Transform, **arguments: Any) -> Transform:
    """A composition whose last transform, the bad one, is hardly ever applied."""
    good: Transform = {"NoOp": {"p": 1.0}}
    return {name: {"transforms": [good, good, bad], "p": 1e-9, **arguments}}


BAD: Transform = {"ToFloat": {"p": 1e-9}}
CHOICES = [
    seldom("OneOf", BAD),
    seldom("SomeOf", BAD),
    seldom("SomeOf", BAD, n=2, replace=True),
    seldom("RandomOrder", BAD, n=2),
    seldom("Sequential", BAD),
    seldom("OneOf", seldom("OneOf", seldom("SomeOf", BAD))),
    seldom("Sequential", seldom("OneOf", seldom("Sequential", BAD))),
    {"OneOrOther": {"transforms": [FLIP, BAD], "p": 1 - 1e-12}},
    {"OneOrOther": {"transforms": [BAD, FLIP], "p": 0.0}},
]


@pytest.mark.parametrize("entry", CHOICES, ids=json.dumps)
def test_what_is_seldom_applied_is_tried_at_every_depth(entry: Transform) -> None:
    with pytest.raises(InputError, match="must return 32×32×3 uint8, not 32×32×3 float32"):
        Augment([FLIP, entry], 0)


def test_what_is_never_applied_is_not_tried() -> None:
    never: Transform = {"ToFloat": {"p": 0.0}}
    Augment([{"OneOf": {"transforms": [never, FLIP], "p": 1.0}}, never], 0)
    Augment([{"Sequential": {"transforms": [BAD], "p": 0.0}}], 0)


def test_only_orders_that_happen_are_tried() -> None:
    """SomeOf keeps the order of its list: a crop never comes before the padding."""
    pad: Transform = {"PadIfNeeded": {"min_height": 40, "min_width": 40, "p": 1.0}}
    crop: Transform = {"RandomCrop": {"height": 32, "width": 32, "p": 1.0}}
    both = {"transforms": [pad, crop], "n": 2, "p": 1.0}
    Augment([{"SomeOf": both}], 0)
    with pytest.raises(InputError, match="must return 32×32×3 uint8, not 40×40×3"):
        Augment([{"RandomOrder": both}], 0)


def test_variants_leave_nothing_to_chance() -> None:
    """Three ways through the first, and beside them both ways through the second."""
    first = {"OneOf": {"transforms": [{n: {"p": 0.1}} for n in ("A", "B", "C")], "p": 0.5}}
    second = {"OneOf": {"transforms": [{n: {"p": 0.1}} for n in ("D", "E")], "p": 0.5}}
    names = [[next(iter(entry)) for entry in variant] for variant in variants([first, second])]
    assert names == [["A", "D"], ["B", "E"], ["C", "D"]]
    assert all(e == {n: {"p": 1.0}} for v in variants([first, second]) for e in v for n in e)
    assert variants([]) == [[]]
