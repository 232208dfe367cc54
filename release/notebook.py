"""Run the notebook and keep its outputs: `python -m release.notebook`.

It runs in a fresh clone of the last commit, as a reader's would. Cells with the tag skip-execution
(the training on CIFAR-10, which takes minutes to hours) are left as they are.
"""

import base64
import io
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

from release.outputs import command
from src.pipeline.command import run_command
from src.pipeline.files import write_bytes

ROOT = Path(__file__).parents[1]
NOTEBOOK = Path("notebooks/cifar_resnet.ipynb")
LONGEST_CELL = 3600  # seconds
# As a page shows a picture. As the stages write them, all together would take 4 MB.
WIDTH, QUALITY = 850, 90  # pixels, JPEG's
SET_UP = "make .venv/.ready"
# What a command of the shell says that fails: its cell does not fail.
FAILED = re.compile(r"^.*(Traceback|ERROR|\berror:).*$", re.MULTILINE)


def execute(project: Path) -> nbformat.NotebookNode:
    """The notebook of a clone with the outputs of its cells.

    A cell that fails raises; the end where a command of the shell in it does.
    """
    notebook = nbformat.read(project / NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(project / NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=LONGEST_CELL, kernel_name="python3", resources=where)
    executed: nbformat.NotebookNode = client.execute()
    for cell in executed.cells:
        # When each cell ran: it differs between two runs that show the same.
        cell.metadata.pop("execution", None)
        if SET_UP in cell.source:
            # It tells of this machine's package index.
            cell.outputs = []
        for output in cell.get("outputs", []):
            if failed := FAILED.search(output.get("text", "")):
                sys.exit(f"error: {NOTEBOOK}: a command failed: {failed[0].strip()}")
            if "image/png" in output.get("data", {}):
                output.data["image/jpeg"] = shrunk(output.data.pop("image/png"))
    return executed


def shrunk(picture: str) -> str:
    """A PNG in base64 as JPEG, at most WIDTH pixels wide."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    if image.width > WIDTH:
        size = WIDTH, round(image.height * WIDTH / image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "jpeg", quality=QUALITY, subsampling=0)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "cifar-resnet"
        command(ROOT, "git", "clone", "--quiet", str(ROOT), str(clone))
        executed = execute(clone)
    write_bytes(ROOT / NOTEBOOK, f"{nbformat.writes(executed)}\n".encode())
    outputs = sum(len(cell.get("outputs", [])) for cell in executed.cells)
    print(f"{NOTEBOOK}: {outputs} outputs")


if __name__ == "__main__":
    run_command(main)
