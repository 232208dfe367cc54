"""Names in the little room that they have."""


def short(name: str, length: int = 16) -> str:
    """The name, of at most `length` letters; an ellipsis stands for the middle of a long one.

    The ends tell names apart that begin alike: species 1, species 2, …
    """
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"
