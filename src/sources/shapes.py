"""The built-in sample: ten drawn shapes that let the whole pipeline run offline.

A generator keyed by (seed, i) draws image i. Its bytes are the same on every machine because
every step computes with integers: NumPy's Philox stream, outlines in fixed point, OpenCV's
polygon filling and bit-exact resizing, and averages that are whole numbers. So the bytes depend
only on the pinned NumPy and OpenCV; a test checks them.
"""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from src.data.records import SIDE, canonical_order, to_records

Ints = NDArray[np.int64]

ZOOM = 4  # shapes are filled on a canvas ZOOM times larger and averaged down
FULL = ZOOM * ZOOM  # coverage of a pixel that lies wholly inside the shape
SHIFT = 4  # fractional bits of canvas coordinates
PIXEL = ZOOM << SHIFT  # one pixel in those coordinates
UNIT = 1024  # radius of the circle that each outline is drawn in
LUMA = np.array([299, 587, 114])  # brightness of red, green and blue, in 1/1000 (BT.601)

# These values set the difficulty.
RADIUS = (10, 14)  # pixels
TURN = 20  # degrees, to either side
STRETCH = (880, UNIT)  # of UNIT, along a random axis
CONTRAST = 80  # least difference in brightness, of 255, between shape and background
NOISE = (2, 20)  # largest change of a pixel, of 255
USUAL = 85  # per cent of the shapes that have their class's usual colour
SHADE = 40  # largest change of that colour in each channel, of 255

# No entry lies near a half, so every CPU's cosine rounds to the same integers.
COS = np.array([round(UNIT * math.cos(math.radians(d))) for d in range(360)], np.int64)
SIN = np.roll(COS, 90)
ROWS, COLUMNS = np.mgrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2].astype(np.int64)


def arc(radius: int, degrees: Sequence[int], centre: int = 0) -> Ints:
    """Points (K, 2) on a circle about (centre, 0)."""
    turn = np.array(degrees) % 360
    return np.stack([centre + radius * COS[turn] // UNIT, radius * SIN[turn] // UNIT], axis=1)


def star() -> Ints:
    outline = np.empty((10, 2), np.int64)
    outline[0::2] = arc(UNIT, range(-90, 270, 72))
    outline[1::2] = arc(430, range(-54, 306, 72))
    return outline


def heart() -> Ints:
    """x = 16 sin³t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t, scaled to UNIT."""
    t = np.arange(0, 360, 6)
    x = 16 * SIN[t] ** 3 // UNIT**2
    y = 13 * COS[t] - 5 * COS[2 * t % 360] - 2 * COS[3 * t % 360] - COS[4 * t % 360]
    return np.stack([x // 17, -y // 17], axis=1)


CIRCLE = arc(UNIT, range(0, 360, 6))
CRESCENT = [arc(UNIT, range(40, 321, 5)), arc(738, range(297, 62, -6), centre=450)]
CROSS = [(900, 270), (270, 270), (270, 900), (-270, 900), (-270, 270), (-900, 270)]
ARROW = [(1000, 0), (150, 750), (150, 240), (-950, 240)]
HOURGLASS = [(620, 810), (90, 0), (620, -810), (-620, -810), (-90, 0), (-620, 810)]

# Class name → closed outlines; a point is inside if an odd number of them enclose it.
OUTLINES: dict[str, list[Ints]] = {
    "circle": [CIRCLE * 7 // 8],
    "square": [arc(UNIT, range(45, 405, 90))],
    "triangle": [arc(UNIT, range(-90, 270, 120))],
    "star": [star()],
    "cross": [np.array(CROSS + [(-x, -y) for x, y in CROSS])],
    "ring": [CIRCLE, CIRCLE * 9 // 16],
    "arrow": [np.array(ARROW + [(x, -y) for x, y in ARROW[:0:-1]])],
    "crescent": [np.concatenate(CRESCENT)],
    "heart": [heart()],
    "hourglass": [np.array(HOURGLASS)],
}
CLASSES: tuple[str, ...] = tuple(OUTLINES)
# Six full colours, then four darker or paler ones.
PALETTE = [
    "ff3030",
    "30c030",
    "4060ff",
    "f0d020",
    "e040e0",
    "20d0d0",
    "804010",
    "f8c0b0",
    "203070",
    "a0b0a0",
]
USUAL_COLOURS = {
    name: np.array(list(bytes.fromhex(colour)), np.int64)
    for name, colour in zip(CLASSES, PALETTE, strict=True)
}


def draw(n: int, seed: int) -> tuple[NDArray[np.uint8], Ints, NDArray[np.bool_]]:
    """Draw n images of the shapes in shuffled order; class counts differ by at most one.

    Returns images (n, 32, 32, 3) uint8 RGB, labels (n,) int64 and masks (n, 32, 32) bool, True
    where the shape covers at least half of the pixel.
    Raises ValueError for n below 1 or a seed below 0.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"n is {n} and seed is {seed}; n must be at least 1, seed at least 0")
    # Images take the keys 0 to n - 1, so key n is free for the order.
    labels = keyed(seed, n).permutation(np.arange(n, dtype=np.int64) % len(CLASSES))
    images = np.empty((n, SIDE, SIDE, 3), np.uint8)
    masks = np.empty((n, SIDE, SIDE), np.bool_)
    for i, label in enumerate(labels):
        images[i], masks[i] = draw_one(CLASSES[label], keyed(seed, i))
    return images, labels, masks


def keyed(seed: int, index: int) -> Generator:
    return Generator(Philox(key=[seed, index]))


def draw_one(name: str, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw one image (32, 32, 3) uint8 and its mask (32, 32)."""
    cover = coverage(OUTLINES[name], rng)
    shape, ground, other = colours(USUAL_COLOURS[name], rng)
    texture = TEXTURES[rng.integers(len(TEXTURES))](rng)
    image = blend(blend(ground, other, texture), shape, cover)
    strength = rng.integers(*NOISE)
    noise = rng.integers(-strength, strength + 1, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), cover >= FULL // 2


def coverage(outlines: list[Ints], rng: Generator) -> Ints:
    """How much of each pixel (32, 32) the shape covers, 0 to FULL, in a random pose."""
    radius = rng.integers(RADIUS[0] * PIXEL, RADIUS[1] * PIXEL)
    centre = rng.integers(radius, SIDE * PIXEL - radius, size=2)
    matrix = radius * pose(rng)
    points = [(outline @ matrix // UNIT**2 + centre).astype(np.int32) for outline in outlines]
    canvas = np.zeros((SIDE * ZOOM, SIDE * ZOOM), np.uint8)
    cv2.fillPoly(canvas, points, (FULL,), shift=SHIFT)
    # The mean of FULL values that are each 0 or FULL is a count, so nothing needs rounding.
    cover: NDArray[np.uint8] = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cover.astype(np.int64)


def pose(rng: Generator) -> Ints:
    """The matrix (2, 2), in UNIT, of a stretch along a random axis and a turn."""
    axis, turn = any_angle(rng), int(rng.integers(-TURN, TURN + 1))
    stretch = np.array([UNIT, rng.integers(*STRETCH)])
    matrix: Ints = (rotation(axis) * stretch) @ rotation(turn - axis) // UNIT**2
    return matrix


def any_angle(rng: Generator) -> int:
    return int(rng.integers(360))


def rotation(turn: int) -> Ints:
    cos, sin = COS[turn % 360], SIN[turn % 360]
    return np.array([[cos, sin], [-sin, cos]], np.int64)


def colours(usual: Ints, rng: Generator) -> Ints:
    """RGB (3, 3) of the shape and of two grounds; both are brighter than it, or both darker.

    As in photographs, most shapes have nearly the colour that is usual for their class. So the
    loss falls early in a range test, but colour alone does not get a network far.
    """
    while True:
        rgb = rng.integers(256, size=(3, 3))
        if rng.integers(100) < USUAL:
            rgb[0] = (usual + rng.integers(-SHADE, SHADE + 1, size=3)).clip(0, 255)
        brightness = rgb @ LUMA // 1000
        gaps = brightness[1:] - brightness[0]
        if (gaps >= CONTRAST).all() or (gaps <= -CONTRAST).all():
            return rgb


def blend(ground: Ints, colour: Ints, share: Ints) -> Ints:
    """Mix `share` (32, 32), in parts of FULL, of the colour into the ground: (32, 32, 3)."""
    return ground + (colour - ground) * share[..., None] // FULL


def distance(turn: int) -> Ints:
    """Distance (32, 32) along a direction from the image's middle, in 1/16 pixel."""
    along: Ints = (COS[turn % 360] * COLUMNS + SIN[turn % 360] * ROWS) // (UNIT // 16)
    return along


def gradient(rng: Generator) -> Ints:
    return (FULL // 2 + distance(any_angle(rng)) // 32).clip(0, FULL)


def wave(rng: Generator, turn: int) -> Ints:
    """A wave that goes from 0 to FULL and back every 6 to 16 pixels."""
    period = rng.integers(6, 17)
    phase = (distance(turn) + rng.integers(16 * period)) % (16 * period)
    height: Ints = np.abs(phase - 8 * period) * FULL // (8 * period)
    return height


def stripes(rng: Generator) -> Ints:
    return wave(rng, any_angle(rng))


def checks(rng: Generator) -> Ints:
    turn = any_angle(rng)
    difference: Ints = np.abs(wave(rng, turn) - wave(rng, turn + 90))
    return difference


def clouds(rng: Generator) -> Ints:
    coarse = rng.integers(FULL + 1, size=(6, 6)).astype(np.uint8)
    # The plain INTER_LINEAR may round differently from one processor to another.
    fine: NDArray[np.uint8] = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR_EXACT)
    return fine.astype(np.int64)


# How much of the second ground shows in each pixel: (32, 32), 0 to FULL.
TEXTURES: tuple[Callable[[Generator], Ints], ...] = (gradient, stripes, checks, clouds)


def load_shapes(
    train: int, test: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]:
    """Train and test records, (N, 3073) in canonical order, and the class names."""
    # Images are keyed by seed and index, so the test set needs another seed.
    drawn = (draw(n, key) for n, key in ((train, 2 * seed), (test, 2 * seed + 1)))
    first, second = (canonical_order(to_records(images, labels)) for images, labels, _ in drawn)
    return first, second, list(CLASSES)
