"""The page of `dvc plots show` and `dvc plots diff` draws every chart, without a network."""

import configparser
import csv
import hashlib
import io
import re
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from page import build
from tests.browser import Look, look
from tests.conftest import ROOT, run

PLOTS = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
CHARTS = {title: plot[title] for plot in PLOTS if isinstance(plot, dict) for title in plot}
PAGE = build.PAGE.read_text(encoding="utf8")


def scripts() -> dict[str, str]:
    """Vega's scripts in the committed page."""
    found = re.findall(r"<script>(.*?)</script>", PAGE, re.DOTALL)
    return dict(zip(build.SCRIPTS, found, strict=False))


def test_the_page_holds_vega_as_published() -> None:
    digests = [hashlib.sha256(script.encode()).hexdigest() for script in scripts().values()]
    assert digests == [digest for _, _, digest in build.SCRIPTS.values()]


def test_the_page_is_built_from_its_parts() -> None:
    """After an edit in page/, `make page` builds it anew."""
    assert build.assemble(scripts()) == PAGE


def test_the_licences_are_those_published() -> None:
    for package, (_, digest) in build.LICENCES.items():
        text = (build.FOLDER / f"licences/{package}.txt").read_bytes()
        assert hashlib.sha256(text).hexdigest() == digest
        assert text.decode() in PAGE


def test_dvc_finds_its_places_once() -> None:
    """It puts the plots and a tag into them; {scripts} would bring Vega from the network."""
    assert PAGE.count("{plot_divs}") == PAGE.count("{refresh_tag}") == 1
    assert "{scripts}" not in PAGE


@pytest.mark.parametrize("project", [ROOT, ROOT / "demo"], ids=["default", "demo"])
def test_both_projects_use_it(project: Path) -> None:
    config = configparser.ConfigParser()
    config.read(project / ".dvc/config")
    assert (project / ".dvc" / config["plots"]["html_template"]).resolve() == build.PAGE
    # And DVC asks nobody: SECURITY.md says so.
    assert (config["core"]["analytics"], config["core"]["check_update"]) == ("false", "false")


def test_no_title_breaks_the_script_that_dvc_writes() -> None:
    """DVC quotes a title, without its other signs, as the name of the chart's place."""
    for title in CHARTS:
        assert not set(title) & set("'\"\\<"), title


def package(content: bytes) -> bytes:
    """An npm package with one file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/LICENSE")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_other_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get(url: str, **_: Any) -> SimpleNamespace:
        asked.append(url)
        return SimpleNamespace(content=package(b"terms"), raise_for_status=lambda: None)

    monkeypatch.setattr(build.requests, "get", get)
    right = hashlib.sha256(b"terms").hexdigest()
    assert build.fetch("vega", "5.0.0", "LICENSE", right) == b"terms"
    assert asked == [f"{build.REGISTRY}/vega/-/vega-5.0.0.tgz"]
    with pytest.raises(SystemExit, match=f"LICENSE has the sha256 {right}, not {'0' * 64}"):
        build.fetch("vega", "5.0.0", "LICENSE", "0" * 64)


def test_an_edit_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(build.FOLDER, tmp_path / "page"))
    monkeypatch.setattr(build, "FOLDER", folder)
    monkeypatch.setattr(build, "PAGE", folder / "plots.html")
    monkeypatch.delattr(build.requests, "get")
    (folder / "page.css").write_text("/* edited */")
    build.main()
    page = (folder / "plots.html").read_text(encoding="utf8")
    assert page == PAGE.replace((ROOT / "page/page.css").read_text(), "/* edited */")


@pytest.fixture(scope="module")
def shown(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    run(done, "dvc", "plots", "show", "--out", str(folder))
    return folder / "index.html"


@pytest.fixture(scope="module")
def compared(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    run(done, "dvc", "plots", "diff", "HEAD", "--out", str(folder))
    return folder / "index.html"


def rows(project: Path, name: str) -> list[dict[str, str]]:
    with (project / f"plots/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def check_marks(page: Look, project: Path, revisions: int) -> None:
    """Each chart is there unless its tables are empty, and has the marks that they ask for."""
    filled = {
        title
        for title, chart in CHARTS.items()
        if any(rows(project, Path(table).stem) for table in chart["y"])
    }
    assert {name for name, figure in page.figures.items() if figure["charts"]} == filled
    for name, table, fields in (
        ("Learning rate range test", "lr_find", 2),
        ("Loss", "training", 2),
        ("Accuracy", "training", 2),
        ("Learning rate", "training", 1),
    ):
        # DVC's template draws each line twice, once smoothed by the slider.
        expected = [len(rows(project, table))] * (2 * fields * revisions)
        assert page.figures[name]["lines"] == expected, name
    # A bar begins at zero, so each row has one unless it is zero.
    for title, chart in CHARTS.items():
        if chart.get("template") == "bar_from_zero":
            ((table, _),) = chart["y"].items()
            found = [row[chart["x"]] for row in rows(project, Path(table).stem)]
            bars = [value for value in found if value and float(value)]
            assert page.figures[title]["rects"] == len(bars) * revisions > 0, title
    pairs = rows(project, "confusion")
    cells = len({row["actual"] for row in pairs}) * len({row["predicted"] for row in pairs})
    # A cell is drawn twice, once for the pointer over it.
    assert page.figures["Confusion of classes"]["rects"] == 2 * cells * revisions


def check_pictures(page: Look, revisions: int) -> None:
    pictures = [figure["images"] for figure in page.figures.values() if not figure["charts"]]
    assert len(pictures) == sum(isinstance(plot, str) for plot in PLOTS)
    assert all(len(images) == revisions and all(images) for images in pictures)


def check_quiet_and_narrow(page: Look, width: int) -> None:
    assert page.errors == []
    assert len(page.requests) > 1
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.width <= width
    edges = [edge for figure in page.figures.values() for edge in figure["edges"]]
    assert all(left >= 0 and right <= width for left, right in edges)


@pytest.mark.slow
def test_what_was_not_measured_is_not_drawn_as_zero(clone: Path, tmp_path: Path) -> None:
    """Of a run without a validation split the table has empty cells."""
    table = clone / "plots/training.csv"
    header, *lines = [line.split(",") for line in table.read_text().splitlines()]
    for name in ("val_loss", "val_accuracy"):
        for line in lines:
            line[header.index(name)] = ""
    # It is a link into DVC's cache.
    table.unlink()
    table.write_text("".join(",".join(line) + "\n" for line in [header, *lines]))
    run(clone, "dvc", "plots", "show", "--out", str(tmp_path / "page"))
    page = look(tmp_path / "page/index.html", 1280)
    for title in ("Loss", "Accuracy"):
        # Of the two fields one, drawn twice as always.
        drawn = [points for points in page.figures[title]["lines"] if points]
        assert drawn == [len(lines)] * 2, title
    assert page.errors == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_every_chart_is_drawn(shown: Path, done: Path, width: int) -> None:
    page = look(shown, width)
    check_marks(page, done, 1)
    check_pictures(page, 1)
    check_quiet_and_narrow(page, width)
    assert not any("workspace" in figure["text"] for figure in page.figures.values())


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_two_revisions_are_drawn(compared: Path, done: Path, width: int) -> None:
    page = look(compared, width)
    check_marks(page, done, 2)
    check_pictures(page, 2)
    check_quiet_and_narrow(page, width)
    for name, figure in page.figures.items():
        assert "workspace" in figure["text"], name
        assert "HEAD" in figure["text"], name


@pytest.mark.slow
def test_the_browser_would_tell_of_a_request(done: Path, tmp_path: Path) -> None:
    """DVC's own page draws nothing here, and asks for Vega."""
    template = tmp_path / "own.html"
    template.write_text("<html><head>{scripts}</head><body>{plot_divs}</body></html>")
    command = ["dvc", "plots", "show", "--html-template", str(template), "--out", str(tmp_path)]
    run(done, *command)
    page = look(tmp_path / "index.html", 1280)
    assert any("cdn.jsdelivr.net/npm/vega@" in url for url in page.requests)
    assert any("vegaEmbed is not defined" in error for error in page.errors)


@pytest.mark.slow
def test_the_order_is_the_pipelines(shown: Path) -> None:
    """Titles are for people, and a picture stands right after the chart of the same table."""
    captions = list(look(shown, 1280).figures)
    assert not any(re.search(r"\.png|_|/", caption) for caption in captions)
    for chart, picture in (
        ("Learning rate range test", "The range test, and the rates read from it"),
        ("Confusion of classes", "Which class is taken for which"),
        ("F1 of each class", "Scores of each class"),
        ("Calibration", "How often an answer is right, by how sure it is"),
    ):
        assert captions.index(picture) == captions.index(chart) + 1
    known = ("Learning rate range test", "Loss", "Confusion of classes", "Calibration")
    places = [captions.index(name) for name in (*known, "The most confident mistakes")]
    assert places == sorted(places)


@pytest.mark.slow
def test_plots_that_the_page_does_not_know_find_a_place(clone: Path, tmp_path: Path) -> None:
    """A chart follows the one before it in dvc.yaml, a picture the chart that shares a word."""
    (clone / "plots/nothing.csv").write_text("x,y\n")
    for name in ("weight_norms", "zebra"):
        (clone / f"plots/{name}.png").write_bytes((clone / "plots/classes.png").read_bytes())
    described = yaml.safe_load((clone / "dvc.yaml").read_text())
    table = {"plots/training.csv": "val_loss"}
    names = [next(iter(plot)) if isinstance(plot, dict) else plot for plot in described["plots"]]
    described["plots"].insert(names.index("Learning rate") + 1, {
        "2 norms (of weights)": {"x": "epoch", "y": table, "template": "scatter"}
    })  # fmt: skip
    empty = {"Empty": {"x": "x", "y": {"plots/nothing.csv": "y"}}}
    described["plots"] += [empty, "plots/weight_norms.png", "plots/zebra.png"]
    (clone / "dvc.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
    run(clone, "dvc", "plots", "show", "--out", str(tmp_path))
    page = look(tmp_path / "index.html", 390)
    captions = list(page.figures)
    at = captions.index("2 norms (of weights)")
    assert captions[at + 1] == "Weight norms"
    assert page.figures["2 norms (of weights)"]["heading"] == "Training"
    assert page.figures["2 norms (of weights)"]["charts"] == 1
    assert captions[-1] == "Zebra"
    assert page.figures["Zebra"]["heading"] == "More"
    assert "Empty" not in captions
    check_quiet_and_narrow(page, 390)
