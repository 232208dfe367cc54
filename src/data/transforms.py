"""From the entries of params.yaml's `augment` to Albumentations, whose classes are built only here.

What cannot be used is refused by name. `variants` gives pipelines in which each transform is
applied, at any depth, so that one that is seldom applied can be tried.
"""

import os
import traceback
import warnings
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from src.pipeline.errors import InputError
from src.pipeline.rules import COMPOSITIONS

# Importing albumentations asks the network for a newer version unless this is set.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations
import cv2
from albumentations import BaseCompose, BasicTransform, Compose
from albumentations.core.composition import AVAILABLE_KEYS

# OpenCV's own threads would fight with the loader's processes and with torch.
cv2.setNumThreads(0)

# {name: arguments}, as an entry of params.yaml.
Transform = Mapping[str, Mapping[str, Any]]
# The COMPOSITIONS that apply some of their transforms, not all.
CHOOSING = ("OneOf", "OneOrOther", "RandomOrder", "SomeOf")
# Albumentations' warnings that it uses another value than the one given.
ALTERED = r"(?s).*(automatically adjusted|will be set to)"


def build_pipeline(transforms: Sequence[Transform]) -> Any:
    """A pipeline that applies all of these in turn. Raises InputError as `build` does."""
    return Compose([build(each) for each in transforms])


def build(entry: Transform, place: str = "augment") -> Any:
    """The transform of an entry, with those inside it.

    Raises InputError for a name or an argument that Albumentations does not have, and for a
    transform that needs more than an image.
    """
    ((name, arguments),) = entry.items()
    place = f"{place}.{name}"
    kind = kind_of(name, place)
    if name in COMPOSITIONS:
        inner = [build(each, place) for each in arguments["transforms"]]
        return construct(kind, {**arguments, "transforms": inner}, place)
    if "reference_images" in arguments:
        raise InputError(
            f"{place}: reference_images would be read from files that DVC does not track; "
            "take a transform without them (params.yaml)"
        )
    transform = construct(kind, arguments, place)
    needed = sorted(set(transform.targets_as_params) - {"image"})
    if needed:
        raise InputError(f"{place}: {needs(', '.join(needed))} (params.yaml)")
    return transform


def kind_of(name: str, place: str) -> Any:
    """The class of this name; InputError where it does nothing with an image."""
    kind: Any = getattr(albumentations, name, None)
    if name in COMPOSITIONS:
        return kind
    is_transform = isinstance(kind, type) and issubclass(kind, BasicTransform)
    # The bases of all transforms, and transforms of volumes, have no `apply` of their own.
    if not is_transform or kind.apply is BasicTransform.apply:
        raise InputError(f"{place}: is not a transform of Albumentations for images (params.yaml)")
    return kind


def construct(kind: Any, arguments: Mapping[str, Any], place: str) -> Any:
    """kind(**arguments); InputError where it does not take them as they are."""
    allowed = signature(kind).parameters
    for name in arguments:
        if name not in allowed:
            raise InputError(
                f"{place}: has no argument {name!r}, only {', '.join(allowed)} (params.yaml)"
            )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ALTERED)
            return kind(**checked(kind, arguments))
    except (ValueError, TypeError, UserWarning) as error:
        cause = error if isinstance(error, ValidationError) else error.__cause__
        text = faults(cause) if isinstance(cause, ValidationError) else one_line(error)
        raise InputError(f"{place}: {text} (params.yaml)") from error


def checked(kind: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with which a wrong type or value is an error, never only a warning."""
    owner: Any = next(each for each in kind.__mro__ if "__init__" in vars(each))
    if "InitSchema" in vars(owner):
        return {**arguments, "strict": True}
    # Albumentations checks no others: RandomRotate90, MedianBlur, SomeOf, …
    hints = get_type_hints(owner.__init__)
    fields: dict[str, Any] = {
        name: (hints[name], ... if each.default is Parameter.empty else each.default)
        for name, each in signature(kind).parameters.items()
    }
    schema = create_model(
        kind.__name__, __config__=ConfigDict(arbitrary_types_allowed=True), **fields
    )
    given = schema(**arguments)
    return {name: getattr(given, name) for name in arguments}


def needs(what: str) -> str:
    return f"needs {what}, which the images here do not have; remove it"


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def faults(error: ValidationError) -> str:
    """What pydantic says of each argument: its value, and what would be right."""
    rules: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):
        argument = ".".join(map(str, fault["loc"][:1]))
        value = "" if fault["type"] == "missing" else f"{fault['input']!r}: "
        rules.setdefault(f"{argument}: {value}", []).append(fault["msg"])
    return "; ".join(subject + " or ".join(texts) for subject, texts in rules.items())


def fault(error: Exception) -> str:
    """What a pipeline says of an image, and which of its transforms says it."""
    frames = traceback.walk_tb(error.__traceback__)
    owners = [frame.f_locals.get("self") for frame, _ in frames]
    names = [
        type(owner).__name__
        for owner in owners
        if isinstance(owner, BasicTransform | BaseCompose) and not isinstance(owner, Compose)
    ]
    text = f"fails on an image: {one_line(error) or type(error).__name__}"
    if isinstance(error, KeyError) and error.args[:1] and error.args[0] in AVAILABLE_KEYS:
        text = needs(error.args[0])
    # Albumentations warns so of what does nothing with such an image.
    if isinstance(error, UserWarning):
        text = f"does nothing here ({one_line(error)}); remove it"
    return f"{'.'.join(['augment', *names[-1:]])}: {text}"


def variants(transforms: Sequence[Transform]) -> list[list[Transform]]:
    """Pipelines that leave nothing to chance and together apply every transform, at any depth.

    Transforms whose probability is 0 are left out.
    """
    usable = applicable(transforms)
    count = max(map(choices, usable), default=1)
    return [[one for each in usable for one in applied(each, turn)] for turn in range(count)]


def applicable(transforms: Sequence[Transform]) -> list[Transform]:
    named = [(each, *next(iter(each.items()))) for each in transforms]
    # OneOrOther's p says only which of its two is applied.
    return [each for each, name, given in named if given["p"] > 0 or name == "OneOrOther"]


def inside(entry: Transform) -> list[Transform]:
    """The transforms in a composition that can be applied."""
    ((name, arguments),) = entry.items()
    return applicable(arguments["transforms"]) if name in COMPOSITIONS else []


def choices(entry: Transform) -> int:
    """How many turns it takes until all that is inside an entry was applied."""
    ((name, _),) = entry.items()
    inner = inside(entry)
    deepest = max(map(choices, inner), default=1)
    return deepest * max(1, len(inner)) if name in CHOOSING else deepest


def applied(entry: Transform, turn: int) -> list[Transform]:
    """An entry without chance: p is 1, and a turn says which of its transforms are chosen."""
    ((name, arguments),) = entry.items()
    inner = inside(entry)
    if name in CHOOSING:
        turn, first = divmod(turn, max(1, len(inner)))
        inner = chosen(name, arguments, inner, first)
    nested = [one for each in inner for one in applied(each, turn)]
    if name in CHOOSING or name == "Sequential":
        return nested
    rest = {"transforms": nested} if name in COMPOSITIONS else {}
    return [{name: {**arguments, **rest, "p": 1.0}}]


def chosen(
    name: str, arguments: Mapping[str, Any], transforms: list[Transform], first: int
) -> list[Transform]:
    """As many as a composition applies, the first of them given."""
    count = int(arguments.get("n", 1))
    places = [*range(first, len(transforms)), *range(first)][:count]
    return [transforms[place] for place in (places if name == "RandomOrder" else sorted(places))]
