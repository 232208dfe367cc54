"""Do the maps find the object? `python -m benchmarks.localization`, after `make demo`.

On newly drawn images of the built-in sample, whose object masks are known, for the demo's network
and the class that it says. Two measures, each beside its chance: the pointing game, whether the
highest pixel lies on the object (Zhang et al. 2016, arXiv 1608.00507), and the share of a map's sum
that does (Wang et al. 2020, Score-CAM, arXiv 1910.01279). Chance is what the same maps reach with
the masks of other images: objects lie near the middle, so a map that always says "the middle" is
often right. An image without evidence does not count.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.data.dataset import read_statistics
from src.data.records import Split
from src.evaluation.predict import predict
from src.explanation.controls import Maps
from src.explanation.maps import maps_of
from src.network.weights import load_trained
from src.sources.shapes import CLASSES, draw

Masks = NDArray[np.bool_]
DEMO = Path(__file__).parents[1] / "demo"
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
# The demo's own images have seed 0.
IMAGES, SEED = 200, 1


class Found(NamedTuple):
    """A measure's mean on the images' own masks, and by chance; error: of their difference."""

    own: float
    chance: float
    error: float

    @property
    def beats_chance(self) -> bool:
        return self.own - self.chance > 3 * self.error


def pointing(maps: Maps, masks: Masks) -> NDArray[np.float64]:
    """(N,) 1 where the highest pixel of a map (N, H, W) lies inside the mask, else 0.

    Enlarged maps have several highest pixels where they peak in a corner; then the share of those.
    """
    return energy(maps == maps.max((1, 2), keepdims=True), masks)


def energy(maps: Maps, masks: Masks) -> NDArray[np.float64]:
    """(N,) share of the map's sum that lies inside the mask."""
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


MEASURES = (pointing, energy)


def locate(maps: Maps, masks: Masks) -> list[Found]:
    """Each measure of maps and masks (N, H, W); no map is zero everywhere."""
    found = []
    for measure in MEASURES:
        others = [measure(maps, np.roll(masks, n, axis=0)) for n in range(1, 21)]
        own, chance = measure(maps, masks), np.mean(others, axis=0)
        error = float((own - chance).std(ddof=1) / len(own) ** 0.5)
        found.append(Found(float(own.mean()), float(chance.mean()), error))
    return found


def main() -> None:
    weights = DEMO / "models/model.safetensors"
    if not weights.exists():
        sys.exit(f"error: {weights}: not there; `make demo` makes it")
    trained = load_trained(weights, len(CLASSES), *read_statistics(DEMO / "data"))
    images, labels, masks = draw(IMAGES, SEED)
    said = predict(trained, Split(images, labels)).argmax(1).numpy()
    print(f"{'':<8}  highest pixel on the object    share of the sum on the object")
    for layer, maps in maps_of(trained, LAYERS, images, said, "gradcam").items():
        told = maps.any((1, 2))
        columns = [
            f"{f.own:6.1%}, by chance {f.chance:6.1%} ± {100 * f.error:.1f}"
            for f in locate(maps[told], masks[told])
        ]
        print(f"{layer:<8}  {'    '.join(columns)}    ({told.sum()} images)")


if __name__ == "__main__":
    main()
