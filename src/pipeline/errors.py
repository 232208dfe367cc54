"""The one exception a user is meant to read, in sentences of one line."""


class InputError(Exception):
    """A fault outside the code, told in a sentence: what, where, how to mend it."""


def one_line(text: str) -> str:
    """The text with an escape for each character that cannot be printed.

    A name may hold a line break, a terminal's command, or bytes that are no UTF-8.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text) or "''"


def remake(stage: str) -> str:
    """How to mend a file that a stage wrote; ends a sentence about it."""
    again = f"run `dvc repro -f -s {stage}` to write it anew"
    if stage != "train":
        return again
    # That would take hours, and remove a network that may be the published one.
    return (
        "`dvc checkout --force` brings back what dvc.lock records (of a metric: `git checkout HEAD "
        f"-- metrics`); only if it cannot, {again}, which trains anew"
    )
