"""The figures of faithfulness and sanity say what was measured, in words that can be read."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from src.explanation.curves import SHARES, WAYS
from src.explanation.faithfulness import Faithfulness
from src.explanation.leads import CONTROLS, OWN, Lead, leads_of, points_of
from src.explanation.sanity import DRAWS, LEARNED, Check
from src.figures import faithfulness as figures
from src.figures.style import look
from tests.figures.reading import Case, check_file, unreadable, words_of

PARTS = [LEARNED, "fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]


def found(layers: list[str]) -> Faithfulness:
    rng = np.random.default_rng(0)
    points, leads = [], []
    for layer in layers:
        curves = {
            name: {way: rng.normal(3 * SHARES[way[1]], 1, (200, 8)) for way in WAYS}
            for name in (OWN, *CONTROLS)
        }
        points += points_of(layer, curves)
        leads += leads_of(layer, curves)
    return Faithfulness(200, points, leads)


def checks(layers: list[str]) -> list[Check]:
    return [
        Check(step, name, layer, None if step == 5 else 0.9**step, 0.05, 200, step / 20)
        for step, name in enumerate(PARTS)
        for layer in layers
    ]


def built(name: str, layers: list[str]) -> Figure:
    with look():
        if name == "nothing":
            return figures.build_faithfulness(Faithfulness(0, [], []))
        if name == "sanity":
            return figures.build_sanity(checks(layers))
        return figures.build_faithfulness(found(layers))


def test_where_nothing_was_measured_it_is_said() -> None:
    figure = built("nothing", [])
    assert unreadable(figure) == []
    assert "Faithfulness was not measured" in words_of(figure)


@pytest.mark.parametrize("name", ["faithfulness", "sanity"])
@pytest.mark.parametrize(
    "layers", [["layer4"], ["layer1", "layer2", "layer3", "layer4.1.conv2"]], ids=["one", "four"]
)
def test_text_is_whole_and_apart(name: str, layers: list[str]) -> None:
    figure = built(name, layers)
    assert unreadable(figure) == []
    for layer in layers:
        assert layer in words_of(figure)


@pytest.mark.parametrize("name", ["faithfulness", "sanity"])
@pytest.mark.parametrize(
    "layers",
    [
        [f"features.{block}.block.1.0" for block in (4, 9, 11, 12)],
        ["_blocks.3", "_blocks.10"],
        ["_features.4.block.1.0", "_features.9.block.1.0"],
    ],
    ids=["alike", "underscore", "both"],
)
def test_each_layer_of_a_network_of_your_own_has_a_name_of_its_own(
    name: str, layers: list[str]
) -> None:
    """Also in legends, from which Matplotlib leaves labels that begin with an underscore."""
    figure = built(name, layers)
    assert unreadable(figure) == []
    for layer in layers:
        assert layer in words_of(figure)
    if name == "sanity":
        named = [text.get_text().strip() for text in figure.legends[0].get_texts()]
        assert named == layers


def test_every_map_and_every_curve_is_drawn() -> None:
    figure = built("faithfulness", ["layer3", "layer4"])
    curves = [axes for axes in figure.axes if axes.get_xlabel()]
    assert len(curves) == 2 * len(WAYS)
    for axes in curves:
        assert len(axes.lines) == len(axes.collections) == 1 + len(CONTROLS)
    assert "200 test images" in words_of(figure)


def test_the_looks_are_those_of_the_controls() -> None:
    assert list(figures.LOOKS) == [OWN, *CONTROLS]
    assert set(figures.WAYS) == set(WAYS)


def test_the_legend_has_the_looks_of_curves_and_leads() -> None:
    legend = built("faithfulness", ["layer4"]).findobj(Legend)[0]
    shown = [(h.get_color(), h.get_marker()) for h in legend.legend_handles]
    assert shown == [(colour, marker) for colour, _, marker in figures.LOOKS.values()]


def test_the_legend_of_the_sanity_check_covers_no_data() -> None:
    """A network that fails the check has correlations near 1 down to the last step."""
    layers = ["layer1", "layer2", "layer3", "layer4"]
    failed = [each._replace(correlation=0.97, no_evidence=0.0) for each in checks(layers)]
    with look():
        figure = figures.build_sanity(failed)
    FigureCanvasAgg(figure).draw()
    below = figure.legends[0].get_window_extent().y1
    assert all(axes.get_window_extent().y0 > below for axes in figure.axes)
    assert figure.axes[1].get_ylim() == (0, 5)


def test_the_names_of_many_parts_are_whole_and_apart() -> None:
    parts = [
        LEARNED,
        "fc",
        *(f"inception{part}" for part in ["5b", "5a", "4e", "4d", "4c", "4b", "4a", "3b", "3a"]),
    ]
    rows = [
        Check(step, part, "inception5b", 1 / (1 + step), 0.02, 40, 0.1)
        for step, part in enumerate(parts)
    ]
    assert unreadable(figures.build_sanity(rows)) == []


def test_the_sanity_check_says_how_often_it_draws() -> None:
    """In words, as figures import no explanation."""
    assert DRAWS == 5
    assert "drawn anew, five times" in words_of(built("sanity", ["layer4"]))


def test_a_step_without_a_correlation_is_a_gap() -> None:
    line = built("sanity", ["layer4"]).axes[0].lines[0]
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [5]


def test_leads_stand_at_their_height() -> None:
    lead = Lead("layer4", "blobs", 1.5, 0.2, {("blur", "deletion"): (1.0, 0.1)})
    with look():
        figure = Figure()
        figures.draw_leads(figure.add_subplot(), [lead], ["layer4"])
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines]
    assert {1.5, 1.0, 0} <= set(heights)


@pytest.mark.parametrize(
    "case",
    [
        Case(figures.build_faithfulness, figures.draw_faithfulness, (found(["layer4"]),)),
        Case(figures.build_sanity, figures.draw_sanity, (checks(["layer4"]),)),
    ],
    ids=["faithfulness", "sanity"],
)
def test_png_is_whole_and_repeats(case: Case, tmp_path: Path) -> None:
    check_file(case, tmp_path)
