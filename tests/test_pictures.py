"""Picture files of every kind are read as they look, or refused in a sentence with their name."""

import errno
import io
import os
import struct
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

from src import pictures
from src.pictures import FORMATS, MAX_PIXELS, Pixels, decode_picture, read_picture, to_square
from src.pipeline.errors import InputError

RED, GREEN, BLUE, GREY = (200, 30, 40), (20, 180, 60), (30, 60, 220), (90, 90, 90)


def quarters(height: int = 40, width: int = 60) -> np.ndarray:
    """A picture (H, W, 3) with another colour in each quarter: turning it shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    down, across = height // 2, width // 2
    pixels[:down, :across], pixels[:down, across:] = RED, GREEN
    pixels[down:, :across], pixels[down:, across:] = BLUE, GREY
    return pixels


def encoded(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def decoded(image: Image.Image, kind: str, **options: object) -> np.ndarray:
    return decode_picture(encoded(image, kind, **options), "it")


def refusal(content: bytes) -> str:
    with pytest.raises(InputError) as refused:
        decode_picture(io.BytesIO(content), "holiday.png")
    return str(refused.value)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PNG", "PPM", "TIFF", "WEBP"])
def test_formats_without_loss_keep_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decoded(Image.fromarray(quarters()), kind, **options), quarters())


@pytest.mark.parametrize("kind", ["AVIF", "JPEG"])
def test_formats_with_loss_keep_the_colours(kind: str) -> None:
    seen = decoded(Image.fromarray(quarters()), kind, quality=95).astype(int)
    for y, x in ((5, 5), (5, 55), (35, 5), (35, 55)):
        assert np.abs(seen[y, x] - quarters()[y, x]).max() <= 6


def test_a_jpeg_is_decoded_as_opencv_does() -> None:
    file = encoded(Image.fromarray(quarters(333, 250)), "JPEG", quality=80)
    theirs = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decode_picture(file, "it").astype(int) - theirs).max() <= 3


def test_grey_and_black_and_white_become_rgb() -> None:
    grey = Image.fromarray(quarters()).convert("L")
    assert np.array_equal(decoded(grey, "PNG"), np.asarray(grey)[..., None].repeat(3, 2))
    black = Image.fromarray(quarters()).convert("1")
    assert set(np.unique(decoded(black, "PNG"))) == {0, 255}


def test_a_palette_becomes_its_colours() -> None:
    palette = Image.fromarray(quarters()).quantize(4)
    assert palette.mode == "P"
    assert np.array_equal(decoded(palette, "PNG"), quarters())


def test_what_is_transparent_lies_on_white() -> None:
    pixels = np.dstack([quarters(), np.full((40, 60), 255, np.uint8)])
    pixels[:20, :, 3], pixels[20:, :30, 3] = 0, 51
    seen = decoded(Image.fromarray(pixels), "PNG")
    assert (seen[:20] == 255).all()
    assert np.array_equal(seen[20:, 30:], quarters()[20:, 30:])
    # A fifth of the blue over four fifths of white.
    assert np.abs(seen[30, 10] - (0.2 * np.array(BLUE) + 0.8 * 255)).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_transparency_is_found_in_grey_and_palette_too(mode: str) -> None:
    if mode == "LA":
        seen = decoded(Image.new("LA", (9, 9), (0, 0)), "PNG")
    else:
        palette = Image.fromarray(quarters(9, 9)).quantize(4)
        seen = decoded(palette, "PNG", transparency=palette.getpixel((0, 0)))[:4, :4]
    assert (seen == 255).all()


def test_cmyk_becomes_rgb() -> None:
    seen = decoded(Image.fromarray(quarters()).convert("CMYK"), "JPEG", quality=95).astype(int)
    assert np.abs(seen[5, 5] - np.array(RED)).max() <= 8


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_upper_eight(kind: str, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 60, channels), dtype=np.uint16)
    done, content = cv2.imencode(kind, deep)
    assert done
    seen = decode_picture(io.BytesIO(content.tobytes()), "it")
    assert np.array_equal(seen, np.broadcast_to(deep[..., ::-1] >> 8, (40, 60, 3)))


def test_a_deep_portable_greymap_is_read_like_a_deep_png() -> None:
    deep = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    file = io.BytesIO(b"P5 32 32 65535\n" + deep.astype(">u2").tobytes())
    assert np.array_equal(decode_picture(file, "it")[..., 1], deep >> 8)


def test_numbers_that_are_no_colours_are_refused() -> None:
    for number in (np.float32(0.5), np.int32(70_000), np.int32(255)):
        content = encoded(Image.fromarray(np.full((9, 9), number)), "TIFF").getvalue()
        assert refusal(content).startswith("holiday.png: holds numbers that no colour scale goes")
    floats = b"Pf\n9 9\n-1.0\n" + np.full((9, 9), 0.5, "<f4").tobytes()
    assert "between 0.5 and 0.5; save it with 8 or 16 bits" in refusal(floats)


def test_a_tile_larger_than_its_picture_is_refused() -> None:
    """2 MB of a TIFF file could take 2 GB."""
    usual = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1}

    def tiled(side: int) -> bytes:
        return tiff(bytes(256), usual | {322: side, 323: side, 324: 8, 325: 256})

    assert decode_picture(io.BytesIO(tiled(16)), "it").shape == (16, 16, 3)
    assert "has 46,336×46,336 pixels, more than" in refusal(tiled(46336))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_it_is_turned_as_opencv_turns_it(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # First: Pillow takes the orientation out of the EXIF data that it writes into an AVIF file.
    jpeg = encoded(Image.fromarray(quarters()), "JPEG", exif=exif, quality=95).getvalue()
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    seen = decoded(Image.fromarray(quarters()), kind, exif=exif, **options)
    assert seen.shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))
    theirs = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
    h, w = seen.shape[:2]
    for y, x in ((5, 5), (5, w - 5), (h - 5, 5), (h - 5, w - 5)):
        assert np.abs(seen[y, x] - theirs[y, x]).max() <= 6


def test_a_damaged_note_on_its_orientation_does_not_matter() -> None:
    broken = b"Exif\0\0not a tiff header at all"
    seen = decoded(Image.fromarray(quarters()), "JPEG", exif=broken, quality=95)
    assert seen.shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    first, second = Image.fromarray(quarters()), Image.new("RGB", (60, 40), BLUE)
    options = {"lossless": True} if kind == "WEBP" else {}
    seen = decoded(first, kind, save_all=True, append_images=[second], **options)
    assert np.array_equal(seen, quarters())


def test_a_camera_s_file_of_several_pictures_is_its_first() -> None:
    first, second = Image.fromarray(quarters()), Image.new("RGB", (60, 40), BLUE)
    seen = decoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(seen[5, 5].astype(int) - np.array(RED)).max() <= 6


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and breaks off before its first pixel."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT"


def test_too_large_a_picture_is_refused_by_its_header() -> None:
    side = int(MAX_PIXELS**0.5)
    assert refusal(png_header(side, side + 1)) == (
        "holiday.png: has 10,000×10,001 pixels, more than 100,000,000 in all; make it smaller"
    )
    # One that is just allowed gets as far as its pixels.
    assert "is damaged" in refusal(png_header(side, side))


def test_a_frame_that_outgrows_its_header_is_refused() -> None:
    gif = bytearray(encoded(Image.fromarray(quarters()), "GIF").getvalue())
    frame = gif.index(b"\x2c\0\0\0\0")
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 65535, 65535)
    assert "has 65,535×65,535 pixels" in refusal(bytes(gif))


# Pillow would hand it to Ghostscript, which runs it.
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"


@pytest.mark.parametrize("content", [b"dear diary", EPS, b"\x89PNG"])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    assert refusal(content) == (
        "holiday.png: is no picture of a kind that is read here "
        "(AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP); save it as PNG or JPEG"
    )


def test_an_empty_file_is_called_empty() -> None:
    assert refusal(b"") == "holiday.png: is empty; save the picture again"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_cut_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind).getvalue()
    assert refusal(content[: len(content) // 2]).startswith("holiday.png: is ")


@pytest.mark.filterwarnings("ignore")  # Pillow's own, about EXIF and TIFF data
@given(st.data())
def test_a_broken_file_gives_pixels_or_a_sentence(data: st.DataObject) -> None:
    """Bits are flipped anywhere; nothing but InputError may come out."""
    kind = data.draw(st.sampled_from(FORMATS))
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in {"BMP", "GIF", "PPM"} else {"exif": exif}
    content = bytearray(encoded(Image.fromarray(quarters()), kind, **options).getvalue())
    for place in data.draw(st.lists(st.integers(0, min(300, len(content) - 1)), max_size=6)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(InputError):
        seen = decode_picture(io.BytesIO(content), "it")
        assert seen.dtype == np.uint8
        assert seen.ndim == 3


def test_a_file_is_read_or_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "my holiday.png"
    Image.fromarray(quarters()).save(path)
    assert np.array_equal(read_picture(path), quarters())
    with pytest.raises(InputError, match=r"gone\.png: is not there; check its name"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"is not a file; name a picture file"):
        read_picture(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: is not a file"):
        read_picture(tmp_path / "pipe.png")


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.png").write_bytes(b"")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=r"secret\.png: cannot be read \(Permission denied\)"):
        read_picture(tmp_path / "secret.png")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_picture_of_the_network_s_size_stays_as_it_is() -> None:
    assert np.array_equal(to_square(noise(32, 32)), noise(32, 32))


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (320, 640), (16, 24), (8, 8)])
def test_it_is_torchvision_s_resize_and_centre_crop(size: tuple[int, int]) -> None:
    """At sizes where torchvision rounds nothing."""
    theirs = F.center_crop(
        F.resize(Image.fromarray(noise(*size)), [32], F.InterpolationMode.BICUBIC), [32, 32]
    )
    assert np.array_equal(to_square(noise(*size)), np.asarray(theirs))


def test_fine_patterns_become_grey_instead_of_aliasing() -> None:
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[::2] = 255
    # At the edges the window is cut, and not as even.
    assert np.abs(to_square(stripes)[1:-1].astype(int) - 127.5).max() <= 1


@given(st.integers(1, 70), st.integers(1, 70))
def test_any_size_becomes_the_network_s(height: int, width: int) -> None:
    picture = noise(height, width)
    square = to_square(picture)
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    # The rule has no favourite side.
    assert np.abs(to_square(picture[:, ::-1]).astype(int) - square[:, ::-1]).max() <= 1


def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "convert", Mock(side_effect=MemoryError))
    said = refusal(encoded(Image.fromarray(quarters()), "PNG").getvalue())
    assert said.startswith("holiday.png: does not fit this machine's memory; make the picture")


def test_a_picture_is_turned_or_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageOps, "exif_transpose", Mock(side_effect=MemoryError))
    assert "does not fit" in refusal(encoded(Image.fromarray(quarters()), "PNG").getvalue())


def grey_tiff(pixels: bytes, bits: int, photometric: int) -> list[int]:
    """The grey values that are read of a TIFF file of one row."""
    size, kind, place = (
        {256: 8 * len(pixels) // bits, 257: 1},
        {258: bits, 259: 1, 262: photometric},
        {273: 8, 277: 1, 278: 1, 279: len(pixels)},
    )
    file = io.BytesIO(tiff(pixels, size | kind | place))
    seen: list[int] = decode_picture(file, "it")[0, :, 0].tolist()
    return seen


def tiff(pixels: bytes, tags: dict[int, int]) -> bytes:
    """A TIFF file whose pixels begin at its eighth byte."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = struct.pack("<I", 8 + len(pixels))
    return b"II*\0" + start + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_grey_of_12_bits_is_no_darker() -> None:
    """White, black, the middle and black: each is three hexadecimal digits."""
    assert grey_tiff(bytes.fromhex("fff000800000"), 12, 1) == [255, 0, 128, 0]


@pytest.mark.parametrize(("bits", "pixels"), [(8, "ff0080"), (16, "ffff00000080")])
def test_a_negative_tiff_is_turned_into_a_positive(bits: int, pixels: str) -> None:
    """Where 0 stands for white."""
    positive = grey_tiff(bytes.fromhex(pixels), bits, 1)
    assert positive[:3] == [255, 0, 128]
    assert grey_tiff(bytes.fromhex(pixels), bits, 0) == [255 - value for value in positive]


def png(bits: int, colour: int, row: bytes, clear: bytes) -> bytes:
    """A PNG file of one row. colour: 0 for grey, 2 for RGB; clear: what is transparent."""
    width = 8 * len(row) // bits // (3 if colour else 1)
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    chunks = {b"IHDR": header, b"tRNS": clear, b"IDAT": zlib.compress(b"\0" + row), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


def test_a_transparent_colour_of_16_bits_is_refused() -> None:
    """Pillow keeps 8 of them, and would take an opaque black for it."""
    for clear in ((256, 256, 256), (0, 0, 0), (0, 0, 5)):
        file = png(16, 2, bytes(6), struct.pack(">HHH", *clear))
        assert "has 16 bits per channel and a transparent colour" in refusal(file)
    seen = decode_picture(io.BytesIO(png(8, 2, bytes(6), struct.pack(">HHH", 0, 0, 0))), "it")
    assert seen.tolist() == [[[255] * 3] * 2]


def test_a_preview_alone_is_refused() -> None:
    """As the first image of most cameras' raw files, which begin as TIFF files do."""
    whole = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    assert decode_picture(io.BytesIO(tiff(b"\0", {254: 0} | whole)), "it").shape == (1, 1, 3)
    said = "holiday.png: shows a preview alone, as camera raw does; save it as PNG or JPEG"
    assert refusal(tiff(b"\0", {254: 1} | whole)) == said


def test_grey_that_is_multiplied_by_its_opacity_lies_on_white() -> None:
    """A TIFF whose extra sample is associated: grey 64 of opacity 128 is half of grey 128."""
    size = {256: 1, 257: 1, 258: 8 | 8 << 16, 259: 1, 262: 1, 273: 8}
    content = tiff(bytes([64, 128]), size | {277: 2, 278: 1, 279: 2, 338: 1})
    # Two bit depths, of 16 bits each, lie in the value's four bytes.
    depth = struct.pack("<HHII", 258, 4, 1, 8 | 8 << 16)
    content = content.replace(depth, struct.pack("<HHII", 258, 3, 2, 8 | 8 << 16))
    assert Image.open(io.BytesIO(content)).mode == "La"
    (seen,) = decode_picture(io.BytesIO(content), "it")[0, :, 0]
    assert abs(int(seen) - 191) <= 2


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(quarters()).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pictures, "check_size", fail)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Input/output error\)"):
        read_picture(tmp_path / "a.png")


def test_pictures_that_are_large_together_wait_for_each_other() -> None:
    room, begun, held, order = Pixels(10), threading.Event(), threading.Event(), []

    def read(count: int) -> None:
        with room.take(count):
            order.append(count)
            begun.set()
            held.wait(60)

    first, second = (threading.Thread(target=read, args=[count]) for count in (6, 5))
    first.start()
    assert begun.wait(60)
    second.start()
    with room.take(4):  # a small one need not wait
        assert order == [6]
    held.set()
    first.join(60)
    second.join(60)
    assert order == [6, 5]
    assert room.free == 10


@pytest.mark.parametrize(
    ("bits", "row", "clear", "expected"),
    [
        (1, 0b10000000, 0, [255] * 8),
        (2, 0b00011011, 0, [255, 85, 170, 255]),
        (4, 0x01, 0, [255, 17]),
        (8, 0x00, 0, [255]),
        # Pillow spreads the pixels to 85 and 17, and not the clear value.
        (2, 0b01101100, 1, [255, 170, 255, 0]),
        (4, 0x1F, 1, [255, 255]),
    ],
)
def test_a_transparent_grey_of_any_depth_lies_on_white(
    bits: int, row: int, clear: int, expected: list[int]
) -> None:
    file = png(bits, 0, bytes([row]), bytes([0, clear]))
    assert decode_picture(io.BytesIO(file), "it")[0, :, 0].tolist() == expected


def test_transparent_grey_of_16_bits_lies_on_white() -> None:
    values = np.array([[768, 769], [0, 65535]], np.uint16)
    seen = decoded(Image.fromarray(values), "PNG", transparency=768)
    assert seen[..., 0].tolist() == [[255, 3], [0, 255]]
