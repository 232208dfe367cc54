"""Picture files of any size and mode become pixels, and one rule makes these 32×32.

Nothing in a file is trusted: only plain picture formats are opened (EPS, for one, is a program),
and the header must promise a picture that fits the memory before any pixel is decoded.
"""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from src.data.records import SIDE
from src.pipeline.errors import InputError

Picture = NDArray[np.uint8]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# How their files' names end, in small letters.
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
# 300 MB once decoded to RGB. Pillow's own limit would warn below it, without the file's name.
MAX_PIXELS = 100_000_000
Image.MAX_IMAGE_PIXELS = None
BACKGROUND, WHITE = "white", 255
# Tags of TIFF files, and values of the first (a bit: a smaller copy of another image) and third.
SUBFILE, BITS_PER_SAMPLE, PHOTOMETRIC, TILE_WIDTH, TILE_HEIGHT = 254, 258, 262, 322, 323
REDUCED, WHITE_IS_ZERO = 1, 0
# How far Pillow spreads the grey values of PNG files that have 2 and 4 bits.
SPREAD = {"L;2": 85, "L;4": 17}


class Pixels:
    """How many pixels threads may decode at once.

    While it is decoded, a picture takes 14 to 25 bytes a pixel, and the system ends a process that
    takes too much memory without a word.
    """

    def __init__(self, most: int) -> None:
        self.free = most
        self.turn = threading.Condition()

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Wait until there is room for `count` pixels, which must be at most `most`."""
        with self.turn:
            self.turn.wait_for(lambda: count <= self.free)
            self.free -= count
        try:
            yield
        finally:
            with self.turn:
                self.free += count
                self.turn.notify_all()


# Together as many as the largest picture has.
AT_ONCE = Pixels(MAX_PIXELS)


class NoMemory(InputError):
    """The machine has too little memory for a picture, so the picture is not at fault."""


def no_memory(name: str) -> NoMemory:
    return NoMemory(
        f"{name}: does not fit this machine's memory; make the picture smaller, or end other "
        "programs"
    )


def read_picture(path: Path) -> Picture:
    """The pixels of a picture file, as `decode_picture` gives them.

    Raises InputError naming the file where it is missing or cannot be read, and as
    `decode_picture` does.
    """
    try:
        # Opening a pipe or a device could wait for ever.
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a file; name a picture file")
        with open(path, "rb") as file:
            return decode_picture(file, str(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: is not there; check its name") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable") from error


def decode_picture(file: BinaryIO, name: str) -> Picture:
    """The pixels (H, W, 3), uint8 RGB, of the picture in a file, upright as its EXIF data say.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB, an animation its first frame, and
    what is transparent lies on white. Colour profiles are not applied.
    Raises InputError naming `name` where it is empty, no picture, damaged, or above MAX_PIXELS,
    NoMemory where it is too large for the memory, and OSError where the system cannot read it.
    """
    if not file.read(1):
        raise InputError(f"{name}: is empty; save the picture again")
    file.seek(0)
    try:
        with Image.open(file, formats=FORMATS) as image:
            pixels = check_size(image, name)
            check_content(image, name)
            spread_transparency(image)
            with AT_ONCE.take(pixels):
                image.load()
                turn_upright(image)
                picture = to_rgb(image, grey_bits(image, name), name)
            return WHITE - picture if is_negative(image) else picture
    except InputError:
        raise
    except MemoryError as error:
        raise no_memory(name) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: is no picture of a kind that is read here ({', '.join(FORMATS)}); "
            "save it as PNG or JPEG"
        ) from error
    # A decoder that is given a broken file can fail in any way; a disk that fails is another thing.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in {errno.EIO, errno.ESTALE}:
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: is damaged ({why}); save the picture again") from error


def check_size(image: Image.Image, name: str) -> int:
    """How many pixels are decoded; InputError where the header promises more than MAX_PIXELS."""
    width, height = image.size
    # A tile of a TIFF file is decoded whole, also where it is larger than the picture.
    tags = getattr(image, "tag_v2", {})
    width, height = max(width, tags.get(TILE_WIDTH, 0)), max(height, tags.get(TILE_HEIGHT, 0))
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: has {width:,}×{height:,} pixels, more than {MAX_PIXELS:,} in all; "
            "make it smaller"
        )
    return width * height


def check_content(image: Image.Image, name: str) -> None:
    """InputError where what would be decoded is not what the file shows."""
    # Most cameras' raw files begin as a TIFF whose first image is a small preview.
    if getattr(image, "tag_v2", {}).get(SUBFILE, 0) & REDUCED:
        raise InputError(
            f"{name}: shows a preview alone, as camera raw does; save it as PNG or JPEG"
        )
    # Pillow compares 8 of the 16 bits, and takes other colours for the transparent one.
    if isinstance(image.info.get("transparency"), tuple) and kind_of(image) == "RGB;16B":
        raise InputError(
            f"{name}: has 16 bits per channel and a transparent colour, which 8 bits cannot tell "
            "from others; save it with 8 bits"
        )


def kind_of(image: Image.Image) -> object:
    """How the file holds its pixels, as Pillow names it; None where it does not say."""
    tiles = getattr(image, "tile", [])
    return tiles[0][-1] if tiles else None


def spread_transparency(image: Image.Image) -> None:
    """Spread the one grey value that is transparent as Pillow spreads those of the pixels."""
    clear, kind = image.info.get("transparency"), kind_of(image)
    if isinstance(clear, int) and isinstance(kind, str):
        image.info["transparency"] = clear * SPREAD.get(kind, 1)


def turn_upright(image: Image.Image) -> None:
    """Turn the picture as its EXIF data say; where they are damaged it stays as it lies."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        return


def grey_bits(image: Image.Image, name: str) -> int:
    """How many bits a grey value has that Pillow keeps in 16 or more: TIFF has values of 12, too.

    Raises InputError for 32: their largest value can be that of any other depth.
    """
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE)
    if bits == (32,):
        raise InputError(
            f"{name}: holds numbers that no colour scale goes with, of 32 bits; save it with 8 or "
            "16 bits per channel"
        )
    return 12 if bits == (12,) else 16


def is_negative(image: Image.Image) -> bool:
    """Whether 0 stands for white in a deep grey TIFF, which Pillow heeds for 8 bits alone."""
    tags = getattr(image, "tag_v2", {})
    return image.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def to_rgb(image: Image.Image, bits: int, name: str) -> Picture:
    """(H, W, 3) uint8 from an image of any mode; InputError where its numbers are no colours.

    bits: of a grey value that has more than 8.
    """
    clear = image.info.get("transparency")  # the value or colour that is, in some PNG files
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        picture = from_deep_grey(values, bits, name)
        if isinstance(clear, int):
            picture[values == clear] = WHITE
        return picture
    if image.mode == "La":
        # Pillow converts this grey, which is multiplied by its opacity, to LA alone.
        image = image.convert("LA")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, BACKGROUND)
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def from_deep_grey(values: NDArray[np.generic], bits: int, name: str) -> Picture:
    """(H, W, 3) uint8 from (H, W) grey values of 12 or 16 bits, whose upper 8 are taken.

    Pillow does the same with 16-bit colours. Raises InputError for values beyond 16 bits.
    """
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() > 0xFFFF:
        raise InputError(
            f"{name}: holds numbers that no colour scale goes with, between {values.min():g} and "
            f"{values.max():g}; save it with 8 or 16 bits per channel"
        )
    grey = (values.astype(np.uint16) >> (bits - 8)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def centre_square(height: int, width: int) -> tuple[float, float, int]:
    """Left edge, top edge and side, in pixels, of the largest square in a picture's middle."""
    side = min(height, width)
    return (width - side) / 2, (height - side) / 2, side


def to_square(picture: Picture) -> Picture:
    """The (32, 32, 3) picture that the network sees of an (H, W, 3) one, both uint8 RGB.

    The one rule, for training and prediction alike: the short side becomes 32 pixels, and the
    middle of the long one is kept. The resampling is Pillow's bicubic one, whose window grows with
    the reduction, so that fine patterns do not alias (Parmar et al. 2022, arXiv 2104.11222). A
    32×32 picture stays as it is.
    """
    left, top, side = centre_square(*picture.shape[:2])
    image = Image.fromarray(picture)
    box = (left, top, left + side, top + side)
    return np.array(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))
