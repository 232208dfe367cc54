"""The schema of params.yaml: every key, its type and its rule.

Strict and without defaults, so params.yaml shows all that decides a result.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from src.pipeline.errors import InputError

LEADING_ZERO = re.compile(r"[+-]?0\d+")
# `dvc exp run -S train.lr=1e-5` writes 1e-05, which YAML 1.1 reads as a string.
EXPONENT_FLOAT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def float_from_exponent(value: object) -> object:
    return float(value) if isinstance(value, str) and EXPONENT_FLOAT.fullmatch(value) else value


Float = Annotated[float, BeforeValidator(float_from_exponent), Field(allow_inf_nan=False)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1)]
SIDE = 32  # pixels
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Loader(yaml.SafeLoader):
    """YAML, but 010 stays text: PyYAML reads 8 there, and DVC, by YAML 1.2, records 10."""


def int_without_leading_zero(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    text = loader.construct_scalar(node)
    return text if LEADING_ZERO.fullmatch(text) else loader.construct_yaml_int(node)


Loader.add_constructor("tag:yaml.org,2002:int", int_without_leading_zero)


def auto_or_positive(value: object) -> object:
    number = float_from_exponent(value)
    if number == "auto":
        return number
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not 0 < number <= sys.float_info.max:  # type: ignore[operator]
        raise ValueError(f"{value!r} is not auto or a finite number above 0")
    return float(number)  # type: ignore[arg-type]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Shapes(Section):
    train: Annotated[int, Field(ge=20, le=1_000_000)]
    test: Annotated[int, Field(ge=20, le=1_000_000)]
    seed: Seed


class Data(Section):
    source: Literal["cifar10", "shapes"]
    shapes: Shapes
    val_size: Annotated[int, Field(ge=0)]
    split_seed: Seed
    train_limit: PositiveInt | None


class Model(Section):
    arch: Literal["resnet18", "resnet34", "resnet50"]


class Optimizer(Section):
    momentum: Fraction
    nesterov: bool
    weight_decay: Annotated[Float, Field(ge=0)]

    @model_validator(mode="after")
    def nesterov_needs_momentum(self) -> "Optimizer":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true needs a momentum above 0")
        return self


class LrFind(Section):
    mode: Literal["exponential", "linear"]
    start_lr: PositiveFloat
    end_lr: PositiveFloat
    num_iter: Annotated[int, Field(ge=20, le=10_000)]
    val_images: PositiveInt
    suggestion: Literal["steep", "valley", "minimum", "slide"]

    @model_validator(mode="after")
    def range_rises(self) -> "LrFind":
        if self.end_lr <= self.start_lr:
            raise ValueError(f"end_lr {self.end_lr:g} is not above start_lr {self.start_lr:g}")
        return self


class Plateau(Section):
    factor: Annotated[Float, Field(gt=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]
    cooldown: Annotated[int, Field(ge=0)]


class OneCycle(Section):
    warmup: Annotated[Float, Field(gt=0, lt=1)]
    start_factor: Annotated[Float, Field(gt=0, le=1)]
    end_factor: Annotated[Float, Field(gt=0, le=1)]


class Cyclic(Section):
    period_epochs: PositiveInt


class Train(Section):
    lr: Annotated[Literal["auto"] | float, BeforeValidator(auto_or_positive)]
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2)]
    label_smoothing: Fraction
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    deterministic: bool
    resolution: Annotated[list[Literal[16, 20, 24, 28, 32]], Field(min_length=1)]
    schedule: Literal["plateau", "one_cycle", "cyclic", "cosine"]
    plateau: Plateau
    one_cycle: OneCycle
    cyclic: Cyclic
    checkpoint_seconds: PositiveFloat

    @field_validator("resolution")
    @classmethod
    def ends_at_full_size(cls, sides: list[int]) -> list[int]:
        if sides[-1] != SIDE:
            raise ValueError(f"{sides} must end with {SIDE}, the size of the test images")
        return sides


class Evaluate(Section):
    tta: Literal["none", "mirror", "mirror_shift"]


class Gradcam(Section):
    layers: Annotated[
        list[Literal["layer1", "layer2", "layer3", "layer4"]], Field(min_length=1, max_length=4)
    ]
    samples: Annotated[int, Field(ge=1, le=20)]
    mistakes: Annotated[int, Field(ge=1, le=50)]
    faithfulness_images: Annotated[int, Field(ge=2, le=10_000)]


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
            if len(transform) != 1:
                raise ValueError(f"one transform an entry, not {sorted(transform)}")
            ((name, arguments),) = transform.items()
            if name in {"Normalize", "ToTensorV2"}:
                raise ValueError(
                    f"{name} has no place here: images stay uint8 until the device, "
                    "which normalises them with the data's own means; remove it"
                )
            if "p" not in arguments:
                raise ValueError(f"{name} must state p, the probability that it is applied")
            p = arguments["p"]
            if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
                raise ValueError(f"{name}: p: {p!r} is not a probability from 0 to 1")
        return augment

    @model_validator(mode="after")
    def validation_where_needed(self) -> "Params":
        if self.data.val_size == 0 and self.train.schedule == "plateau":
            raise ValueError("train.schedule: plateau needs data.val_size above 0")
        if self.data.val_size == 0 and self.lr_find.mode == "linear":
            raise ValueError("lr_find.mode: linear needs data.val_size above 0")
        return self


RULES = {
    "missing": "is missing",
    "extra_forbidden": "is not a parameter",
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "bool_type": "is not true or false",
    "string_type": "is not text",
    "list_type": "is not a list",
    "dict_type": "is not a mapping",
    "model_type": "is not a mapping",
    "finite_number": "is not a finite number",
    "greater_than_equal": "is not at least {ge}",
    "greater_than": "is not above {gt}",
    "less_than_equal": "is not at most {le}",
    "less_than": "is not below {lt}",
    "literal_error": "is not one of {expected}",
    "too_short": "has fewer than {min_length} entries",
    "too_long": "has more than {max_length} entries",
    "value_error": "{error}",
}


def sentence(error: Any, path: Path) -> str:
    """One of pydantic's errors as `key: value rule (file)`."""
    key = ".".join(map(str, error["loc"]))
    rule = RULES.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    if error["type"] not in {"missing", "extra_forbidden", "value_error"}:
        rule = f"{error['input']!r} {rule}"
    return f"{key}: {rule} ({path})" if key else f"{rule} ({path})"


def load_params(path: Path = Path("params.yaml")) -> Params:
    """The checked values of params.yaml; InputError with a line for each fault."""
    try:
        values = Loader(path.read_text()).get_single_data()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); run this where {path} is"
        ) from error
    # ValueError: a date that there is not, a number too long; RecursionError: lists in lists.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        raise InputError(f"{path}: is empty; `git checkout {path}` brings the last commit's back")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise InputError("\n".join(dict.fromkeys(sentence(f, path) for f in faults))) from None
