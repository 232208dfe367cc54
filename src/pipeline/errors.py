"""The one exception a user is meant to read."""


class InputError(Exception):
    """A fault outside the code, told in a sentence: what, where, how to mend it."""


def one_line(name: str) -> str:
    """A name as it may stand in a sentence or on a terminal, where a line break would cut it."""
    return name if name and name.isprintable() else repr(name)


def remake(stage: str) -> str:
    """How to mend a file that a stage wrote; ends a sentence about it."""
    return f"run `dvc repro -f -s {stage}` to write it anew"
