"""dvc.yaml says exactly what each stage reads: no retraining without need, none left out."""

import ast
import filecmp
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# It can refuse a value but never alter one, and the values themselves are tracked as params.
EXCEPT = {"src/pipeline/params.py"}


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {f"{name.replace('.', '/')}.py" for name in names}
    return {name for name in found if (ROOT / name).is_file()}


def closure(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imported(ROOT / name))
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_closure(stage: str) -> None:
    deps = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert deps == closure(f"stages/{stage}.py") - EXCEPT


def test_packages_have_nothing_to_import() -> None:
    """Their __init__ files are nobody's dep, so they must be empty."""
    for path in [*ROOT.glob("src/**/__init__.py"), ROOT / "stages/__init__.py"]:
        assert path.read_text() == ""


def test_training_imports_no_figure_and_no_explanation() -> None:
    names = closure("stages/train.py")
    assert not any("figures" in name or "gradcam" in name for name in names)


@pytest.mark.parametrize("stage", STAGES)
def test_paths_in_the_command_are_declared(stage: str) -> None:
    """A file that a flag names is a dep, an output or untracked on purpose."""
    known = {*STAGES[stage]["deps"], *STAGES[stage]["outs"], "data", "resume", "logs/train.jsonl"}
    known |= {name for metric in STAGES[stage]["metrics"] for name in metric}
    flags = STAGES[stage]["cmd"].split()[5:]
    assert flags[0::2] == [flag for flag in flags if flag.startswith("--")]
    assert set(flags[1::2]) <= known


def test_the_demo_has_the_same_pipeline() -> None:
    assert filecmp.cmp(ROOT / "dvc.yaml", ROOT / "demo/dvc.yaml", shallow=False)
    for name in ("src", "stages"):
        assert (ROOT / "demo" / name).resolve() == ROOT / name


def test_params_are_listed_by_leaf() -> None:
    """A section would make a stage depend on what it does not read."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage in STAGES.values():
        for key in stage["params"]:
            value = values
            for part in key.split("."):
                value = value[part]
            assert not isinstance(value, dict), key
