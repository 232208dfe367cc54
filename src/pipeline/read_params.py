"""Reading params.yaml, and telling what is wrong with it."""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from src.pipeline.errors import InputError, one_line
from src.pipeline.params import Params

# PyYAML reads 010 as 8, 1:30 as 90 and yes as true; DVC, by YAML 1.2, records 10 and two texts.
OCTAL_OR_TIME = re.compile(r"[+-]?0[\d_]+|.*:.*")


class Loader(yaml.SafeLoader):
    """YAML, except that what DVC reads otherwise stays text: such numbers are then refused."""


def plain_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    text = loader.construct_scalar(node)
    return text if OCTAL_OR_TIME.fullmatch(text) else loader.construct_yaml_int(node)


def plain_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | str:
    text = loader.construct_scalar(node)
    return text if ":" in text else loader.construct_yaml_float(node)


def plain_bool(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool | str:
    text = loader.construct_scalar(node)
    return loader.construct_yaml_bool(node) if text.lower() in {"true", "false"} else text


Loader.add_constructor("tag:yaml.org,2002:bool", plain_bool)
Loader.add_constructor("tag:yaml.org,2002:int", plain_int)
Loader.add_constructor("tag:yaml.org,2002:float", plain_float)


RULES = {
    "missing": "is missing",
    "extra_forbidden": "is not a parameter",
    "int_type": "is not a whole number",
    "invalid_key": "is not a name",
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
    "string_too_short": "is empty",
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
    return f"{one_line(key)}: {rule} ({path})" if error["loc"] else f"{rule} ({path})"


def load_params(path: Path = Path("params.yaml")) -> Params:
    """The checked values of params.yaml; InputError with a line for each fault."""
    try:
        values = Loader(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); run this where {path} is"
        ) from error
    # ValueError: a date that does not exist, a number that is too long; RecursionError: deep lists.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        raise InputError(
            f"{path}: is empty; `git checkout HEAD -- {path}` brings the last commit's back"
        )
    try:
        return Params.model_validate(values)
    except RecursionError as error:
        raise InputError(
            f"{path}: a value holds itself, by an alias of YAML; write its content out"
        ) from error
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise InputError("\n".join(dict.fromkeys(sentence(f, path) for f in faults))) from None
