"""A picture's explanation shows it in a size for a screen, coloured where the network saw it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.figures.evidence import overlay
from src.predict.sheet import build_explanation, draw_explanation, evidence


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blob() -> np.ndarray:
    """(32, 32) in [0, 1], the peak top left."""
    return np.outer(np.linspace(1, 0, 32), np.linspace(1, 0, 32)).astype(np.float32)


def test_the_square_looks_as_in_the_other_figures() -> None:
    ours = evidence(photo(200, 200), blob()).astype(int)
    assert np.abs(ours - overlay(photo(200, 200), blob(), "viridis", 1)).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(100, 161), (161, 100)])
def test_what_the_network_did_not_see_is_dark_and_grey(height: int, width: int) -> None:
    image, pixels = photo(height, width), evidence(photo(height, width), blob())
    assert pixels.shape == image.shape
    if width > height:
        outside, inside = pixels[:, :30], pixels[:, 30:130]
    else:
        outside, inside = pixels[:30], pixels[30:130]
    assert np.ptp(outside, axis=2).max() == 0
    assert outside.max() <= 0.4 * 255
    assert np.abs(inside.astype(int) - outside.mean()).mean() > 30
    # The peak is yellow, the other end violet.
    (first, last) = inside[:8, :8].mean((0, 1)), inside[-8:, -8:].mean((0, 1))
    assert first[1] > first[2] + 20
    assert last[2] > last[1] + 20


def test_it_shows_the_picture_and_every_layer_at_the_picture_s_size() -> None:
    image = photo(300, 200)
    cams = {"layer1": blob(), "layer2": blob()[::-1], "layer3": np.zeros((32, 32), np.float32)}
    sheet = build_explanation(image, cams, "cat 90.0%", "cat")
    gap, head = 8, 96
    assert sheet.shape == (head + 300 + gap, gap + 4 * (200 + gap), 3)
    for place, panel in enumerate([image, *(evidence(image, cam) for cam in cams.values())]):
        left = gap + place * (200 + gap)
        assert np.array_equal(sheet[head : head + 300, left : left + 200], panel)
    # Words stand above each of them.
    assert all((sheet[72:96, 8 + 208 * place : 208 * (place + 1)] < 99).any() for place in range(4))


@pytest.mark.parametrize(
    ("size", "shown"), [((32, 32), (160, 160)), ((1, 400), (1, 400)), ((50, 60), (100, 120))]
)
def test_a_small_picture_is_enlarged_by_a_whole_factor(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    sheet = build_explanation(photo(*size), {"layer1": blob()}, "cat 90.0%", "cat")
    factor = shown[0] // size[0]
    pixels = sheet[96 : 96 + shown[0], 8 : 8 + shown[1]]
    assert np.array_equal(pixels, photo(*size).repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize(
    ("size", "shown"),
    [((3000, 4000), (768, 1024)), ((10, 6000), (2, 1024)), ((1025, 1), (1024, 1))],
)
def test_a_large_picture_is_shrunk(size: tuple[int, int], shown: tuple[int, int]) -> None:
    """A photo of 24 megapixels had a sheet of 92 MB."""
    sheet = build_explanation(photo(*size), {"layer1": blob()}, "cat 90.0%", "cat")
    gap, line = max(8, shown[1] // 50), max(24, shown[1] // 20)
    width = gap + 2 * (max(shown[1], 160) + gap)
    assert sheet.shape == (4 * line + shown[0] + gap, width, 3)


def test_no_words_are_cut_by_an_edge_or_run_into_their_neighbours() -> None:
    layers = {f"{'W' * 14}{number}": blob() for number in range(2)}
    sheet = build_explanation(photo(160, 160), layers, "W" * 200, "W" * 200)
    # Nothing but white between the columns and at the right edge, in all lines.
    for place in (1, 2, 3):
        assert (sheet[72:96, 168 * place : 168 * place + 8] == 255).all(), place
    assert (sheet[:, -8:] == 255).all()
    assert (sheet[:30, -60:-8] < 99).any()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw_explanation(tmp_path / name, photo(60, 90), {"layer1": blob()}, "cat 90.0%", "cat")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as sheet:
        assert sheet.mode == "RGB"
