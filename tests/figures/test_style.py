"""All figures share a style, which neither the user's settings nor the machine changes."""

import sys
from pathlib import Path

import matplotlib

from src.figures import evaluate
from src.figures.style import look, new_sheet, plain
from src.figures.words import short, short_names
from tests.conftest import ROOT, run
from tests.figures.reading import IMAGES, scored, unreadable


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


def test_the_users_own_matplotlib_style_changes_nothing(tmp_path: Path) -> None:
    rows = [scored("cat", 0.8, 0.9, 0.85), scored("dog", 1.0, 1.0, 1.0)]
    evaluate.draw_classes(tmp_path / "a.png", rows)
    with matplotlib.rc_context({"axes.linewidth": 5, "font.size": 20}):
        evaluate.draw_classes(tmp_path / "b.png", rows)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_neither_torch_nor_a_window_is_needed() -> None:
    code = (
        "import sys; from src.figures import lr_find, augmentation, training, evaluate;"
        "from src.figures import gradcam, mistakes, class_examples, confused_pairs;"
        "from src.figures import results, corruptions, faithfulness;"
        "assert not {'torch', 'pandas', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    run(ROOT, sys.executable, "-c", code)


def test_numbers_are_plain() -> None:
    assert [plain(x) for x in (1e-5, 0.0001, 0.012345, 0.1, 1, 10)] == [
        "0.00001", "0.0001", "0.0123", "0.1", "1", "10",
    ]  # fmt: skip


def test_a_long_name_keeps_the_ends_that_tell_it_apart() -> None:
    assert short("automobile") == "automobile"
    assert short("aquarium_fish_of_the_deep", 8) == "aqua…eep"
    assert short("aquarium_fish_of_the_deep", 1) == "…"
    names = {short(f"Genus species {number:03}") for number in range(256)}
    assert len(names) == 256
    assert {len(name) for name in names} == {16}


def test_two_classes_never_have_one_name() -> None:
    warblers = ["black-throated blue warbler", "black-throated green warbler"]
    assert short(warblers[0]) == short(warblers[1])
    names = ["cat", *warblers, "a_long_name_of_its_own"]
    assert short_names(names) == ["cat", "class 1", "class 2", "a_long_n…its_own"]


def test_a_stage_can_draw_when_it_is_started_from_jupyter() -> None:
    """A stage inherits Jupyter's Matplotlib backend, which may not be installed for it."""
    code = "import src.pipeline.stage, src.figures.style"
    run(ROOT, sys.executable, "-c", code, MPLBACKEND="module://absent.backend")
