"""What the page shows of one picture, as JSON can hold it."""

import base64
import io
from typing import Any

from PIL import Image

from src.pictures import Picture, decode_picture
from src.predict.classifier import Classifier
from src.predict.explain import memory_for_picture
from src.predict.report import caveat, guesses_as_json, remark
from src.predict.sheet import evidence, for_screen

SMALL = 320  # pixels: smaller pictures are enlarged


def about(classifier: Classifier, max_bytes: int) -> dict[str, Any]:
    """What the page says before there is a picture."""
    return {"classes": classifier.names, "caveat": caveat(classifier), "max_bytes": max_bytes}


def answer(classifier: Classifier, content: bytes, name: str) -> dict[str, Any]:
    """The likeliest classes of a picture file, the picture, and what speaks for the first one.

    Raises InputError naming the file where it is no picture that can be read, or where the memory
    is too small for it.
    """
    picture = decode_picture(io.BytesIO(content), name)
    with memory_for_picture(f"{name}: the picture"):
        guesses = classifier.classify(picture)
        cams = classifier.explain(picture, guesses[0].label)
        shown = for_screen(picture, SMALL)
        layers = [
            {"name": layer, "found": bool(cam.any()), "url": data_url(evidence(shown, cam))}
            for layer, cam in cams.items()
        ]
    return {
        "name": name,
        "classes": guesses_as_json(guesses),
        "remark": remark(guesses, classifier),
        "url": data_url(shown),
        "layers": layers,
    }


def data_url(pixels: Picture) -> str:
    """The picture as the address of an image in a page."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
