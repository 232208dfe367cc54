"""The notebook has no outputs, its Python compiles, and its files and links exist."""

import json
import re
from pathlib import Path

import yaml

from tests.conftest import ROOT

PATH = ROOT / "notebooks/cifar_resnet.ipynb"
NOTEBOOK = json.loads(PATH.read_text())
CODE, TEXT = (
    ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == kind]
    for kind in ("code", "markdown")
)


def test_it_is_committed_as_it_was_written() -> None:
    """It has no outputs: they would belong to one machine, and pictures would take megabytes."""
    assert NOTEBOOK["nbformat"] == 4
    for cell in NOTEBOOK["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_python_cells_compile() -> None:
    for source in CODE:
        python = re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.MULTILINE)
        compile(python, PATH.name, "exec")


def test_pictures_and_files_are_what_stages_write() -> None:
    outs = {
        f"{place}{out['path']}"
        for place in ("", "demo/")
        for stage in yaml.safe_load((ROOT / place / "dvc.lock").read_text())["stages"].values()
        for out in stage["outs"]
    }
    code = "\n".join(CODE)
    shown = re.findall(r'Image\("(.+?)"\)|!cat (\S+)', code)
    assert len(shown) > 5
    for path in map("".join, shown):
        assert path in outs or (ROOT / path).is_file(), path


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)(.+?)\)", "\n".join(TEXT)):
        assert (PATH.parent / Path(target.partition("#")[0])).is_file(), target
