"""The notebook runs from its first cell to its last, and shows the outputs of such a run."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from release.notebook import FAILED, execute, shrunk
from tests.conftest import ROOT, check_link, run, tiny_values, write_params

PATH = ROOT / "notebooks/cifar_resnet.ipynb"
NOTEBOOK = json.loads(PATH.read_text())
CODE, TEXT = (
    ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == kind]
    for kind in ("code", "markdown")
)


def skipped(cell: dict[str, Any]) -> bool:
    """Whether a cell is for the reader to run, because it trains on CIFAR-10."""
    return "skip-execution" in cell["metadata"].get("tags", [])


def test_every_cell_but_those_for_the_reader_has_been_run() -> None:
    assert NOTEBOOK["nbformat"] == 4
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    ran = [cell["execution_count"] for cell in cells if not skipped(cell)]
    assert ran == list(range(1, len(ran) + 1)), "run it whole: python -m release.notebook"
    assert sum(map(skipped, cells)) == 2
    for cell in cells:
        shows = re.search(r"^(Image|!cat|!python)", cell["source"][-1]) is not None
        assert not shows or skipped(cell) or cell["outputs"], cell["source"]
        assert not any(output["output_type"] == "error" for output in cell["outputs"])
        assert not FAILED.search("".join("".join(o.get("text", "")) for o in cell["outputs"]))


def test_its_outputs_are_the_recorded_demos_and_name_no_machine() -> None:
    outputs = json.dumps([cell.get("outputs", []) for cell in NOTEBOOK["cells"]])
    result = yaml.safe_load((ROOT / "docs/result.yaml").read_text())["demo"]["metrics"]
    assert f"top1 {result['evaluate']['top1']:.4f}" in outputs
    assert json.dumps(str(result["gradcam"]["layer4"]))[1:-1] in outputs
    here = map(str, [ROOT, *ROOT.parents][:-1])  # the last one, /, is in many a line
    for path in ("/tmp/", "/home/", "/root/", "/opt/", *here):
        assert path not in outputs


@pytest.mark.parametrize("said", ["a\nerror: no run\n", "ERROR: failed", "Traceback (most"])
def test_what_a_failed_command_says_is_found(said: str) -> None:
    assert FAILED.search(said)
    assert not FAILED.search("layer4_error 0.09\nthe standard error is 0.1\n")


def test_a_picture_is_no_wider_than_a_page_shows_it() -> None:
    for width, expected in ((2000, 850), (300, 300)):
        file = io.BytesIO()
        Image.new("RGB", (width, 100), "red").save(file, "png")
        made = base64.b64decode(shrunk(base64.b64encode(file.getvalue()).decode()))
        image = Image.open(io.BytesIO(made))
        assert image.size == (expected, round(100 * expected / width))
        assert np.abs(np.array(image, int) - [255, 0, 0]).max() <= 2
    assert PATH.stat().st_size < 3_000_000


@pytest.mark.slow
def test_it_runs_in_a_clone(tmp_path: Path) -> None:
    """With tiny parameters, so that it takes a minute or two instead of five."""
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(ROOT), str(clone))
    values = tiny_values()
    write_params(clone / "demo", values)
    run(clone, "git", "commit", "-qam", "Tiny parameters")
    executed = execute(clone)
    outputs = json.dumps([cell.get("outputs", []) for cell in executed.cells])
    # The shell's commands in it may fail without failing their cell.
    assert not FAILED.search(outputs)
    assert "Running stage 'gradcam'" in outputs
    assert outputs.count("image/jpeg") == 8


def test_python_cells_compile() -> None:
    for source in CODE:
        python = re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.MULTILINE)
        compile(python, PATH.name, "exec")


def test_pictures_and_files_are_what_stages_write() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    written = [out for stage in stages for out in stage["outs"]]
    written += [path for stage in stages for metrics in stage["metrics"] for path in metrics]
    outs = {place + path for place in ("", "demo/") for path in written} | {"explained.png"}
    code = "\n".join(CODE)
    shown = re.findall(r'Image\("(.+?)"\)|!cat (\S+)', code)
    assert len(shown) > 5
    for path in map("".join, shown):
        assert path in outs or (ROOT / path).is_file(), path


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)(.+?)\)", "\n".join(TEXT)):
        check_link(PATH, target)
