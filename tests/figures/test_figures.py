"""Figures give files that repeat, text that can be read, and numbers in the right place."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from src.explanation.examples import Mistake, Sample
from src.figures import augmentation, calibration, evaluate, gradcam, lr_find, training
from src.figures.style import enlarge, look, new_sheet, plain, save, short
from src.lr_range.range_test import Found
from tests.conftest import ROOT, run

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
BLOB = np.exp(-((np.arange(32)[:, None] - 12) ** 2 + (np.arange(32) - 20) ** 2) / 60)
ZERO = np.zeros((32, 32))
LRS = np.geomspace(1e-4, 10, 60)
SMOOTHED = 2.3 - 1.1 / (1 + np.exp(-3 * (np.log10(LRS) + 2))) + np.maximum(LRS - 0.6, 0) ** 2 * 9
MEASURED = {
    "steep": 0.0123, "valley": 0.0123, "minimum": 0.42, "slide": 0.0111, "base_lr": 0.0021,
    "max_lr": 0.19,
}  # fmt: skip
ROUNDED = {
    "steep": 0.01, "valley": 0.01, "minimum": 0.5, "slide": 0.01, "base_lr": 0.002, "max_lr": 0.2
}  # fmt: skip
FOUND = Found(LRS, SMOOTHED, MEASURED, ROUNDED)
COUNTS = RNG.poisson(2, (20, 20)) + np.diag(RNG.integers(800, 1001, 20))
BINS = [(0.0, 0.0, 0), *((i / 15 + 0.03, (i / 15) ** 2, 9 * 2**i) for i in range(1, 15))]


def history(epochs: int, validation: bool, last_lr: float = 0.001) -> list[dict[str, float | None]]:
    rows: list[dict[str, float | None]] = []
    for epoch in range(1, epochs + 1):
        quality = 1 - np.exp(-epoch / 8)
        row = {"epoch": epoch, "lr": last_lr if epoch == epochs else 0.1}
        for split in ("train", "val") if validation else ("train",):
            row |= {f"{split}_loss": 2.3 - 2 * quality, f"{split}_accuracy": 0.9 * quality}
        rows.append(row)
    return rows


def sample(actual: str, predicted: str, cams: list[Any]) -> Sample:
    return Sample(IMAGES[0], actual, predicted, 0.97, cams)


def mistakes(count: int) -> list[Mistake]:
    said, is_ = "automobile", "aquarium_fish_of_the_deep"
    rows = [(said, is_), (is_, said)] * (count // 2) + [(said, is_)] * (count % 2)
    return [
        Mistake(IMAGES[i % 8], a, 0.97, BLOB, b, 0.02, ZERO if i == 1 else BLOB)
        for i, (a, b) in enumerate(rows)
    ]


Case = tuple[Callable[..., Figure], Callable[..., None], tuple[Any, ...], dict[str, Any]]
LR, TRAIN = (
    (lr_find.build_lr_find, lr_find.draw_lr_find),
    (training.build_training, training.draw_training),
)
AUG = (augmentation.build_augmentation, augmentation.draw_augmentation)
CONFUSION = (evaluate.build_confusion, evaluate.draw_confusion)
CALIBRATION = (calibration.build_calibration, calibration.draw_calibration)
CLASSES = (evaluate.build_classes, evaluate.draw_classes)
SAMPLES = (gradcam.build_samples, gradcam.draw_samples)
MISTAKES = (gradcam.build_mistakes, gradcam.draw_mistakes)
LAYERS = ["layer1", "layer2", "layer3", "layer4", "layer4.1.conv2", "layer4.1.bn2"]
DRAWS = np.stack([IMAGES] * 3)
# Of emu there is no image and it was never predicted; gnu was never predicted; yak has no image.
PARTLY = [
    ("cat", 0.9, 0.8, 0.85), ("emu", None, None, None), ("gnu", None, 0.0, 0.0),
    ("yak", 0.0, None, 0.0),
]  # fmt: skip
CASES: dict[str, Case] = {
    "lr_exponential": (*LR, (FOUND, SMOOTHED, "exponential"), {}),
    "lr_linear": (*LR, (FOUND, SMOOTHED, "linear"), {}),
    "augmentation": (*AUG, (IMAGES[:3], DRAWS, NAMES[:3]), {}),
    "augmentation_one": (*AUG, (IMAGES[:1], DRAWS[:1, :1], ["aquarium_fish_of_the_deep"]), {}),
    "training_to_zero": (*TRAIN, (history(200, True, 0.0), 0.1, ROUNDED), {}),
    "training_one_epoch": (*TRAIN, (history(1, False), 0.01, ROUNDED), {}),
    "confusion_2": (*CONFUSION, (COUNTS[:2, :2], NAMES[:2]), {}),
    "confusion_20": (*CONFUSION, (100 * COUNTS, NAMES * 2), {}),
    "calibration": (*CALIBRATION, ({"as trained": (BINS, 0.03), "scaled": (BINS, 0.01)},), {}),
    "calibration_one": (*CALIBRATION, ({"as trained": (BINS, 0.03)},), {}),
    "classes_2": (*CLASSES, ([("cat", 0.8, 0.9, 0.85), ("dog", 1.0, 1.0, 1.0)],), {}),
    "classes_20": (*CLASSES, ([(n, 0.8, 0.9, 0.01 * i) for i, n in enumerate(NAMES * 2)],), {}),
    "classes_absent": (*CLASSES, (PARTLY,), {}),
    "samples_one": (*SAMPLES, ([sample("cat", "cat", [BLOB])], ["layer4"]), {}),
    "samples": (
        *SAMPLES,
        ([sample(n, "automobile", [ZERO] + [BLOB] * 5) for n in NAMES[:3]], LAYERS),
        {},
    ),
    "mistakes_0": (*MISTAKES, ([],), {}),
    "mistakes_1": (*MISTAKES, (mistakes(1),), {}),
    "mistakes_7": (*MISTAKES, (mistakes(7),), {}),
}
# There is one case per drawing function, because writing a file is slower than checking text.
SMALL_CASES = [
    "lr_exponential",
    "augmentation_one",
    "training_one_epoch",
    "confusion_2",
    "calibration",
    "classes_2",
    "classes_absent",
    "samples_one",
    "mistakes_0",
    "mistakes_1",
]


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that appear when the figure is drawn; ticks out of view do not."""
    seen: dict[int, Text] = {}
    draw_text = Text.draw

    def record(text: Text, *args: Any, **kwargs: Any) -> None:
        seen[id(text)] = text
        draw_text(text, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, look():
        patch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    return [text for text in seen.values() if text.get_visible() and text.get_text().strip()]


def unreadable(figure: Figure) -> list[str]:
    """Each text that is cut or lies on a picture, and each pair that overlaps by over a pixel."""
    texts = drawn_texts(figure)
    boxes = np.array([text.get_window_extent().extents for text in texts])
    inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2:] <= figure.bbox.extents[2:]).all(1)
    faults = [
        f"cut: {text.get_text()}" for text, fits in zip(texts, inside, strict=True) if not fits
    ]
    # The upright box round a slanted label does not show whether the label touches the next one.
    upright = [i for i, text in enumerate(texts) if text.get_rotation() % 90 == 0]
    low, high = boxes[upright, :2], boxes[upright, 2:]
    common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    for a, b in np.argwhere(np.triu((common > 1).all(2), k=1)):
        faults.append(f"overlap: {texts[upright[a]].get_text()} | {texts[upright[b]].get_text()}")
    for picture in figure.images:
        left, right, bottom, top = picture.get_extent()
        on_it = (
            np.minimum(boxes[:, 2:], (right, top)) - np.maximum(boxes[:, :2], (left, bottom))
        ) > 1
        faults += [f"on a picture: {texts[i].get_text()}" for i in np.flatnonzero(on_it.all(1))]
    return [fault for fault in faults if fault != "on a picture: no evidence"]


def build(case: Case) -> Figure:
    with look():
        return case[0](*case[2], **case[3])


def words_of(figure: Figure) -> str:
    texts = (text.get_text() for text in figure.findobj(Text))
    return "\n".join(filter(None, texts))


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(build(CASES[name])) == []


def test_the_check_itself_sees_cut_and_overlapping_text() -> None:
    with look():
        figure = new_sheet(300, 100)
    figure.text(0.9, 0.5, "beyond the edge")
    figure.text(0.1, 0.5, "one")
    figure.text(0.12, 0.5, "two")
    figure.text(0.5, 0.1, "three")
    figure.figimage(IMAGES[0], xo=150, yo=5)
    faults = ["cut: beyond the edge", "overlap: one | two", "on a picture: three"]
    assert unreadable(figure) == faults


@pytest.mark.parametrize("name", SMALL_CASES)
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    _, draw, args, kwargs = CASES[name]
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        draw(path, *args, **kwargs)
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"matplotlib" not in content  # an upgrade alone must change no metadata
    height, width = cv2.imread(str(tmp_path / "a.png")).shape[:2]
    assert 190 <= height <= 2500
    assert 590 <= width <= 2800


def test_the_users_own_matplotlib_style_changes_nothing(tmp_path: Path) -> None:
    _, draw, args, kwargs = CASES["classes_2"]
    draw(tmp_path / "a.png", *args, **kwargs)
    with matplotlib.rc_context({"axes.linewidth": 5, "font.size": 20}):
        draw(tmp_path / "b.png", *args, **kwargs)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_neither_torch_nor_a_window_is_needed() -> None:
    code = (
        "import sys; from src.figures import lr_find, augmentation, training, gradcam;"
        "from src.figures import results, compare;"
        "assert not {'torch', 'pandas', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_are_plain() -> None:
    assert [plain(x) for x in (1e-5, 0.0001, 0.012345, 0.1, 1, 10)] == [
        "0.00001", "0.0001", "0.0123", "0.1", "1", "10",
    ]  # fmt: skip
    assert short("automobile") == "automobile"
    assert short("aquarium_fish_of_the_deep", 8) == "aquariu…"


def test_rates_are_marked_as_read_and_named_as_rounded() -> None:
    axes = build(CASES["lr_exponential"]).axes[0]
    marks = {line.get_label(): line for line in axes.lines}
    assert {"steep 0.01", "valley 0.01", "minimum 0.5", "slide 0.01"} <= marks.keys()
    mark = marks["minimum 0.5"]
    assert mark.get_xdata()[0] == 0.42
    assert mark.get_ydata()[0] == np.interp(0.42, LRS, SMOOTHED)
    assert axes.patches[0].get_label() == "base_lr 0.002 to max_lr 0.2"


def test_a_blow_up_does_not_flatten_the_curve() -> None:
    low, high = lr_find.loss_limits(
        np.array([2, 1, 3e9, np.nan]), np.array([2, 1.2, np.inf, np.nan])
    )
    assert 0.8 < low < 1
    assert 2 < high < 3.1


def test_no_validation_split_is_said() -> None:
    figure = build(CASES["training_one_epoch"])
    assert words_of(figure).count("no validation split") == 2
    assert len(figure.axes) == 5


def test_best_is_the_lowest_loss_and_the_highest_accuracy() -> None:
    rows = history(3, True)
    rows[1] |= {"val_loss": 0.1, "val_accuracy": 0.99}
    text = words_of(build((*TRAIN, (rows, 0.01, ROUNDED), {})))
    assert "best 0.100 (epoch 2)" in text
    assert "best 99.0% (epoch 2)" in text


def test_confusion_colours_are_shares_of_the_row() -> None:
    figure = build((*CONFUSION, (np.array([[3, 1], [0, 0]]), ["cat", "dog"]), {}))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert "3 of 4 right (75.0%)" in words_of(figure)


def test_classes_are_sorted_by_f1() -> None:
    rows = [("cat", 0.5, 0.5, 0.5), ("dog", 0.9, 0.9, 0.9), ("bird", 0.7, 0.7, 0.7)]
    labels = build((*CLASSES, (rows,), {})).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["cat", "bird", "dog"]  # upwards


def test_a_score_that_is_absent_is_not_drawn() -> None:
    figure = build(CASES["classes_absent"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["emu", "gnu", "yak", "cat"]
    assert [text.get_text() for text in axes.texts] == ["none", "0.000", "0.000", "0.850"]
    precision, recall = (line.get_xdata() for line in axes.lines)
    np.testing.assert_array_equal(precision, [np.nan, np.nan, 0, 0.9])
    np.testing.assert_array_equal(recall, [np.nan, 0, np.nan, 0.8])
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_array_equal(widths, [np.nan, 0, 0, 0.85])


def test_bins_without_images_are_not_drawn() -> None:
    top, bottom = build(CASES["calibration"]).axes
    assert len(top.lines[1].get_xdata()) == len(BINS) - 1
    assert len(bottom.patches) == 2 * (len(BINS) - 1)


def test_a_stage_can_draw_when_it_is_started_from_jupyter() -> None:
    """A stage inherits Jupyter's Matplotlib backend, which may not be installed for it."""
    code = "import src.pipeline.stage, src.figures.style"
    run(ROOT, sys.executable, "-c", code, MPLBACKEND="module://absent.backend")


def test_bins_of_few_images_stand_apart() -> None:
    """Their marks are hollow and off the line, because such bins would make the line jump."""
    bins = [(0.1, 1.0, 9), (0.5, 0.5, 10), (0.9, 0.8, 500)]
    top, _ = build((*CALIBRATION, ({"as trained": (bins, 0.1)},), {})).axes
    _, line, alone = top.lines
    assert (line.get_xdata().tolist(), alone.get_xdata().tolist()) == ([0.5, 0.9], [0.1])
    assert (alone.get_linestyle(), alone.get_fillstyle()) == ("None", "none")
    assert "hollow: fewer than 10 images" in words_of(top.figure)


def test_pixels_arrive_one_for_one(tmp_path: Path) -> None:
    gradcam.draw_mistakes(tmp_path / "m.png", mistakes(1))
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "m.png")), cv2.COLOR_BGR2RGB)
    side, top, left = 32 * gradcam.SCALE, gradcam.HEADER, gradcam.MARGIN
    region = sheet[top : top + side, left : left + side]
    np.testing.assert_array_equal(region, enlarge(IMAGES[0], gradcam.SCALE))


@pytest.mark.parametrize("size", [(4, 4), (32, 32)])
def test_overlay_has_the_shown_size(size: tuple[int, int]) -> None:
    shown = gradcam.overlay(IMAGES[0], np.ones(size), scale=4)
    assert shown.shape == (128, 128, 3)
    assert shown.dtype == np.uint8


def test_overlay_of_nothing_is_the_grey_image_in_the_cold_colour() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    shown = gradcam.overlay(black, np.zeros((8, 8)))
    cold = np.rint(255 * gradcam.OPACITY * np.array(gradcam.EVIDENCE(0.0)[:3]))
    assert (shown == cold).all()


def test_no_evidence_and_right_or_wrong_are_said() -> None:
    text = words_of(build(CASES["samples"]))
    assert text.count("no evidence") == 3
    assert text.count("✓ right") == 1
    assert text.count("✗ wrong") == 2
    assert "no evidence" not in words_of(build(CASES["samples_one"]))


def test_no_mistakes_is_said() -> None:
    assert words_of(build(CASES["mistakes_0"])) == "No mistakes"


def test_25_mistakes_are_readable_in_under_4_mb(tmp_path: Path) -> None:
    figure = build((*MISTAKES, (mistakes(25),), {}))
    assert unreadable(figure) == []
    save(figure, tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size < 4_000_000


def test_the_rate_that_training_took_has_its_name() -> None:
    named, number = (words_of(build(CASES[c])) for c in ("training_one_epoch", "training_to_zero"))
    assert "rate 0.01, lr_find's steep and valley and slide" in named
    assert "rate 0.1, set in params.yaml" in number
