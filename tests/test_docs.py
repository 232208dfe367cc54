"""The docs' table of parameters, their code and their links are true."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from src.data.augment import Augment
from src.data.dataset import read_split
from src.pipeline.params import Params
from src.pipeline.rules import COMPOSITIONS
from src.sources.shapes import draw
from tests.conftest import ROOT, check_link, committed_params, pages, run, write_params

PARAMETERS = (ROOT / "docs/parameters.md").read_text()
YOURS = (ROOT / "docs/yours.md").read_text()
DOCS = pages()
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ORDER = ("download", "lr_find", "train", "evaluate", "gradcam")


def table() -> dict[str, str]:
    """The last cell of each parameter's row: the stages that read it."""
    section = PARAMETERS.split("\n## Parameters\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    found = {}
    for row in rows:
        keys = re.findall(r"`([^`]+)`", row[0])
        for key in keys:
            # `train.plateau.factor`, `.patience`
            full = keys[0].rpartition(".")[0] + key if key.startswith(".") else key
            found[full] = row[-1].rstrip(" |")
    return found


def parameters(section: type[BaseModel], prefix: str = "") -> set[str]:
    """Each key of the schema; a section that may be left empty is one key."""
    found = set()
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= parameters(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_the_table_has_every_parameter() -> None:
    assert table().keys() == parameters(Params)


def test_the_table_names_the_stages_that_read_it() -> None:
    for key, cell in table().items():
        readers = [
            name
            for name in ORDER
            if any(key == each or key.startswith(f"{each}.") for each in STAGES[name]["params"])
        ]
        assert cell == ", ".join(readers), key


def test_the_example_of_nested_transforms_is_accepted() -> None:
    (example,) = re.findall(r"```yaml\n(augment:.*?)```", PARAMETERS, re.DOTALL)
    values = yaml.safe_load(committed_params()) | yaml.safe_load(example)
    Augment(Params.model_validate(values).augment, 0)
    table = PARAMETERS.split("\n## Transforms inside transforms\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(COMPOSITIONS)


def code_with(text: str) -> str:
    """The one piece of Python in docs/yours.md that holds `text`."""
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", YOURS, re.DOTALL) if text in c]
    return code


@pytest.mark.slow
def test_the_network_is_used_as_it_says(clone: Path) -> None:
    images = """from pathlib import Path
from src.data.dataset import read_split
images = read_split(Path("data"), "test").images
"""
    (clone / "yours.py").write_text(f"{images}{code_with('load_model')}print(*predicted)\n")
    said = run(clone, "python", "yours.py", PYTHONPATH=".").stdout.split()
    rows = (clone / "plots/confusion.csv").read_text().splitlines()[1:]
    predicted = [row.split(",")[1] for row in rows]
    same = [a == b for a, b in zip(said, predicted, strict=True)]
    # evaluate computes in bf16 where the machine has it.
    assert sum(same) >= 0.9 * len(same)


@pytest.mark.slow
def test_own_images_go_through_the_pipeline(clone: Path) -> None:
    """The code of docs/yours.md works, here with three classes, and no download undoes it."""
    code = code_with("horse")
    images, labels, _ = draw(600, 5)
    few = labels < 3
    np.savez(clone / "own.npz", images=images[few], labels=labels[few])
    own = """import numpy as np
own = np.load("own.npz")
train_images, train_labels = own["images"][30:], own["labels"][30:]
test_images, test_labels = own["images"][:30], own["labels"][:30]
"""
    (clone / "own.py").write_text(own + code)
    values = yaml.safe_load((clone / "params.yaml").read_text())
    write_params(clone, values | {"data": values["data"] | {"source": "own"}})
    run(clone, "python", "own.py", PYTHONPATH=".")
    output = run(clone, "dvc", "repro").stdout
    assert "Stage 'download' didn't change, skipping" in output
    assert "Running stage 'gradcam'" in output
    split = read_split(clone / "data", "test")
    assert len(split) == 30
    rows = (clone / "plots/classes.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[0] for row in rows) == ["cat", "dog", "sea horse"]
    # The download stage would put other images in their place; it stops, and they can come back.
    stopped = run(clone, "dvc", "repro", "-f", check=False)
    assert stopped.returncode
    assert "data.source: 'own' is not one of cifar10" in stopped.stderr
    run(clone, "python", "own.py", PYTHONPATH=".")
    assert "up to date" in run(clone, "dvc", "status").stdout
    # Other arrays take the place of those that DVC remembers.
    fewer = own.replace("[:30]", "[:29]")
    (clone / "own.py").write_text(fewer + code)
    run(clone, "python", "own.py", PYTHONPATH=".")
    assert "Stage 'download' didn't change, skipping" in run(clone, "dvc", "repro", "train").stdout
    assert len(read_split(clone / "data", "test")) == 29


def test_the_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1500


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        check_link(path, target)


def test_there_are_no_open_ends_in_the_docs() -> None:
    for path in [*DOCS, ROOT / "Makefile"]:
        text = path.read_text()
        assert "<<" not in text, path.name
        assert "TRANSCRIPT" not in text, path.name


def test_every_make_command_is_a_target() -> None:
    rules = re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {name for rule in rules for name in rule.split()}
    found = set()
    for path in DOCS:
        for code in re.findall(r"```.*?```|`[^`\n]+`", path.read_text(), re.DOTALL):
            used = set(re.findall(r"(?:^|[`\s&|])make (?:[A-Z]+=\S+ )*([a-z][a-z-]*)", code))
            assert used <= targets, (path.name, used - targets)
            found |= used
    assert {"demo", "repro", "test"} <= found
