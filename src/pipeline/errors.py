"""The one exception a user is meant to read."""


class InputError(Exception):
    """A fault outside the code, told in a sentence: what, where, how to mend it."""
