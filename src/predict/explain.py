"""What speaks for a picture's likeliest class, drawn into a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2

from src.device import memory_for
from src.figures.text import drawable
from src.pictures import Picture
from src.predict.classifier import Classifier
from src.predict.report import Result, in_words
from src.predict.sheet import draw_explanation


def explain(classifier: Classifier, picture: Picture, result: Result, target: Path) -> Result:
    """The result with its explanation, which is drawn into the file `target`.

    Raises InputError where the memory is too small or the file cannot be written.
    """
    names = drawable(classifier.names)
    guesses = [guess._replace(name=names[guess.label]) for guess in result.guesses]
    title = ", ".join(in_words(guess, 24) for guess in guesses)
    with memory_for_picture(f"{result.file}: its explanation"):
        cams = classifier.explain(picture, guesses[0].label)
        draw_explanation(target, picture, cams, title, guesses[0].name)
    return replace(result, explanation=target)


@contextmanager
def memory_for_picture(work: str) -> Iterator[None]:
    """InputError where the memory is too small for some work on a picture."""
    with memory_for(work, "make the picture smaller, or end other programs"):
        try:
            yield
        except cv2.error as error:
            if error.code == cv2.Error.STS_NO_MEM:
                raise MemoryError from error
            raise
