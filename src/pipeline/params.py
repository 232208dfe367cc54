"""The schema of params.yaml: every key, its type and its rule.

Strict and without defaults, so params.yaml shows all that decides a result.
"""

import re
import sys
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

# `dvc exp run -S train.lr=1e-5` writes 1e-05, which YAML 1.1 reads as a string.
EXPONENT_FLOAT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def float_from_exponent(value: object) -> object:
    return float(value) if isinstance(value, str) and EXPONENT_FLOAT.fullmatch(value) else value


Float = Annotated[float, BeforeValidator(float_from_exponent), Field(allow_inf_nan=False)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Side = Literal[16, 20, 24, 28, 32]  # pixels
# The transforms of `augment` that hold others in `transforms`.
COMPOSITIONS = (
    "OneOf",
    "OneOrOther",
    "RandomOrder",
    "SelectiveChannelTransform",
    "Sequential",
    "SomeOf",
)
TO_DEVICE = (
    "images stay uint8 until the device, which normalises them with the data's own means; remove it"
)
MISPLACED = {
    "Normalize": TO_DEVICE,
    "ToTensorV2": TO_DEVICE,
    "Lambda": "it needs functions, which are not values; remove it",
}
# Those of lr_find's rates that training can take.
RateName = Literal["slide", "steep", "valley", "minimum", "max_lr"]


def rate_or_name(*names: str) -> BeforeValidator:
    """Accept a rate above 0, or one of the names that lr_find gives its rates."""

    def check(value: object) -> object:
        number = float_from_exponent(value)
        if number in names:
            return number
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not 0 < number <= sys.float_info.max:  # type: ignore[operator]
            raise ValueError(f"{value!r} is not {', '.join(names)} or a finite number above 0")
        return float(number)  # type: ignore[arg-type]

    return BeforeValidator(check)


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Shapes(Section):
    train: Annotated[int, Field(ge=20, le=1_000_000)]
    test: Annotated[int, Field(ge=20, le=1_000_000)]
    seed: Seed


class Data(Section):
    source: str  # one of src/sources/table.py
    shapes: Shapes
    folder: Annotated[str, Field(min_length=1)]
    test_share: Annotated[Float, Field(gt=0, lt=1)]
    unreadable: Literal["refuse", "skip"]
    val_size: Annotated[int, Field(ge=0)]
    split_seed: Seed
    train_limit: PositiveInt | None


class Model(Section):
    arch: str  # one of src/network/resnet.py


class Optimizer(Section):
    momentum: Fraction
    nesterov: bool
    weight_decay: Annotated[Float, Field(ge=0)]
    decay_norm: bool

    @model_validator(mode="after")
    def nesterov_needs_momentum(self) -> "Optimizer":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true needs a momentum above 0")
        return self


class Range(Section):
    start_lr: PositiveFloat
    end_lr: PositiveFloat

    @model_validator(mode="after")
    def range_rises(self) -> "Range":
        if self.end_lr <= self.start_lr:
            raise ValueError(f"end_lr {self.end_lr:g} is not above start_lr {self.start_lr:g}")
        return self


class LinearRange(Range):
    val_images: PositiveInt


class LrFind(Section):
    mode: Literal["exponential", "linear"]
    num_iter: Annotated[int, Field(ge=20, le=10_000)]
    exponential: Range
    linear: LinearRange


class Plateau(Section):
    factor: Annotated[Float, Field(gt=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]
    cooldown: Annotated[int, Field(ge=0)]
    threshold: Fraction
    min_lr: Annotated[Float, Field(ge=0)]


class OneCycle(Section):
    warmup: Annotated[Float, Field(gt=0, lt=1)]
    start_factor: Annotated[Float, Field(gt=0, le=1)]
    end_factor: Annotated[Float, Field(gt=0, le=1)]


class Cyclic(Section):
    base_lr: Annotated[Literal["base_lr"] | float, rate_or_name("base_lr")]
    period_epochs: PositiveInt


class Mix(Section):
    kind: Literal["none", "mixup", "cutmix"]
    alpha: PositiveFloat


class Average(Section):
    decay: Annotated[Float, Field(gt=0, lt=1)]


class Stop(Section):
    patience: Annotated[int, Field(ge=0)]
    min_delta: Annotated[Float, Field(ge=0)]


class Train(Section):
    lr: Annotated[RateName | float, rate_or_name(*get_args(RateName))]
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2)]
    label_smoothing: Fraction
    mix: Mix
    average: Average | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    deterministic: bool
    resolution: Annotated[list[Side], Field(min_length=1)]
    schedule: Literal["plateau", "one_cycle", "cyclic", "cosine"]
    plateau: Plateau
    one_cycle: OneCycle
    cyclic: Cyclic
    stop: Stop | None

    @field_validator("resolution")
    @classmethod
    def ends_at_full_size(cls, sides: list[int]) -> list[int]:
        full = max(get_args(Side))
        if sides[-1] != full:
            raise ValueError(f"{sides} must end with {full}, the size of the test images")
        return sides


def check_transform(transform: object, place: str = "") -> None:
    """ValueError unless it is {name: arguments} with a probability, and so are those inside it."""
    if not isinstance(transform, dict) or len(transform) != 1:
        shown = sorted(map(str, transform)) if isinstance(transform, dict) else repr(transform)
        raise ValueError(f"{place}one transform an entry, not {shown}")
    ((name, arguments),) = transform.items()
    if name in MISPLACED:
        raise ValueError(f"{place}{name} has no place here: {MISPLACED[name]}")
    if not isinstance(arguments, dict):
        raise ValueError(f"{place}{name}: {arguments!r} is not a mapping of arguments")
    if "p" not in arguments:
        raise ValueError(f"{place}{name} must state p, the probability that it is applied")
    p = arguments["p"]
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"{place}{name}: p: {p!r} is not a probability from 0 to 1")
    if name in COMPOSITIONS:
        check_inside(name, arguments.get("transforms"), f"{place}{name}: ")


def check_inside(name: str, transforms: object, place: str) -> None:
    """ValueError unless these are transforms that a composition can hold."""
    if not isinstance(transforms, list) or not transforms:
        raise ValueError(f"{place}transforms: {transforms!r} is not a list of transforms")
    for transform in transforms:
        check_transform(transform, place)
    if name == "OneOrOther" and len(transforms) != 2:
        raise ValueError(f"{place}transforms: two are needed, not {len(transforms)}")
    if name == "OneOf" and not any(given["p"] for each in transforms for given in each.values()):
        raise ValueError(f"{place}every p is 0, so none can be chosen; state one above 0")


class Evaluate(Section):
    tta: Literal["none", "mirror", "mirror_shift"]
    corruptions: Annotated[int, Field(ge=0)]


class Gradcam(Section):
    layers: Annotated[
        list[Literal["layer1", "layer2", "layer3", "layer4"]], Field(min_length=1, max_length=4)
    ]
    samples: Annotated[int, Field(ge=1, le=20)]
    mistakes: Annotated[int, Field(ge=1, le=50)]
    faithfulness_images: Annotated[int, Field(ge=2, le=10_000)]
    faithfulness_others: Annotated[int, Field(ge=1, le=100)]


class Params(Section):
    seed: Seed
    data: Data
    model: Model
    augment: list[dict[str, dict[str, Any]]]
    optimizer: Optimizer
    lr_find: LrFind
    train: Train
    evaluate: Evaluate
    gradcam: Gradcam

    @field_validator("augment")
    @classmethod
    def transforms_state_everything(
        cls, augment: list[dict[str, dict[str, Any]]]
    ) -> list[dict[str, dict[str, Any]]]:
        for transform in augment:
            check_transform(transform)
        return augment

    @model_validator(mode="after")
    def validation_where_needed(self) -> "Params":
        if self.data.val_size == 0 and self.train.schedule == "plateau":
            raise ValueError("train.schedule: plateau needs data.val_size above 0")
        if self.data.val_size == 0 and self.train.stop is not None:
            raise ValueError("train.stop needs data.val_size above 0")
        if self.data.val_size == 0 and self.lr_find.mode == "linear":
            raise ValueError("lr_find.mode: linear needs data.val_size above 0")
        return self
