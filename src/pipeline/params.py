"""The schema of params.yaml: every key, its type and its rule.

Strict and without defaults, so params.yaml shows all that decides a result.
"""

import re
import sys
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from src.pipeline.rules import check_transform, each_once, module_path, text_from_yaml

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
    def grows_to_full_size(cls, sides: list[int]) -> list[int]:
        full = max(get_args(Side))
        if sides[-1] != full:
            raise ValueError(f"{sides} must end with {full}, the size of the test images")
        if sides != sorted(sides):
            raise ValueError(f"{sides} must not fall: the images grow in the course of training")
        return sides


class Evaluate(Section):
    tta: Literal["none", "mirror", "mirror_shift"]
    corruptions: Annotated[int, Field(ge=0)]


class Gradcam(Section):
    layers: Annotated[
        list[Annotated[str, AfterValidator(module_path)]],
        Field(min_length=1, max_length=4),
        AfterValidator(each_once),
    ]
    method: Literal["gradcam", "gradcam++", "hirescam", "layercam"]
    target: Annotated[str, BeforeValidator(text_from_yaml)]
    images: (
        Annotated[
            list[Annotated[int, Field(ge=0)]],
            Field(min_length=1, max_length=20),
            AfterValidator(each_once),
        ]
        | None
    )
    samples: Annotated[int, Field(ge=1, le=20)]
    mistakes: Annotated[int, Field(ge=1, le=50)]
    colors: Literal["viridis", "jet"]
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
