"""The machine of a result, as docs/result.yaml tells of it."""

import json
from typing import Any

from src.device import machine, start, surroundings


def in_words(about: dict[str, Any]) -> dict[str, Any]:
    """What a machine is, with what its CPU can do as one line."""
    able = about.get("capabilities", {}).items()
    words = sorted(name if value is True else f"{name}={value}" for name, value in able if value)
    return about | ({"capabilities": " ".join(words)} if words else {})


def this_machine(precision: str) -> dict[str, Any]:
    """All that decides the last bits here; precision: in which this machine computes."""
    device, _ = start(precision, deterministic=True)
    about = {**machine(device, precision), **surroundings(device)}
    # As a log of epochs has it: torch's version is no plain text, which YAML wants.
    return in_words(json.loads(json.dumps(about)))
