"""Rules for the values of params.yaml that are more than a type and a range.

Each raises ValueError with what is wrong; params.py adds the key and the file.
"""

import math
import re
from decimal import Decimal
from typing import Any

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
# PyYAML takes a number with an exponent and no point for text.
EXPONENT = re.compile(r"\d+[eE][+-]?\d+")
MISPLACED = {
    "Normalize": TO_DEVICE,
    "ToTensorV2": TO_DEVICE,
    "Lambda": "it needs functions, which are not values; remove it",
}


def check_transform(transform: object, place: str = "") -> None:
    """ValueError unless it is {name: arguments} with a probability, and so are those inside it."""
    if not isinstance(transform, dict) or len(transform) != 1:
        shown = sorted(map(str, transform)) if isinstance(transform, dict) else repr(transform)
        raise ValueError(f"{place}one transform an entry, not {shown}")
    ((name, arguments),) = transform.items()
    if not isinstance(name, str):
        raise ValueError(f"{place}{name!r} is not the name of a transform")
    if name in MISPLACED:
        raise ValueError(f"{place}{name} has no place here: {MISPLACED[name]}")
    if not isinstance(arguments, dict):
        raise ValueError(f"{place}{name}: {arguments!r} is not a mapping of arguments")
    if "p" not in arguments:
        raise ValueError(f"{place}{name} must state p, the probability that it is applied")
    p = arguments["p"]
    if isinstance(p, str) and EXPONENT.fullmatch(p) and float(p) <= 1:
        # Without an exponent: of 5e-05 too YAML makes a text.
        raise ValueError(f"{place}{name}: p: {p!r} is text in YAML; write {Decimal(p):f}")
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"{place}{name}: p: {p!r} is not a probability from 0 to 1")
    if name in COMPOSITIONS:
        check_inside(name, arguments.get("transforms"), f"{place}{name}: ")
    check_finite(arguments, f"{place}{name}: ")


def check_finite(value: object, place: str) -> None:
    """ValueError where a number in it, at any depth, is infinite or none: JSON has no such."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place}{value} is not a finite number")
    named = value.items() if isinstance(value, dict) else ()
    for name, each in named:
        check_finite(each, f"{place}{name}: ")
    for each in value if isinstance(value, list) else ():
        check_finite(each, place)


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


def module_path(path: str) -> str:
    if not re.fullmatch(r"\w+(\.\w+)*", path):
        raise ValueError(f"{path!r} is not the path of a module, as layer4 and layer4.1.conv2 are")
    return path


def each_once(entries: list[Any]) -> list[Any]:
    if twice := [entry for place, entry in enumerate(entries) if entry in entries[:place]]:
        raise ValueError(f"names {twice[0]!r} twice")
    return entries


def text_from_yaml(value: object) -> object:
    """The words that YAML reads as something else: classes called true, false or 7."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value
