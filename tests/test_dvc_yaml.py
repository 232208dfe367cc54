"""dvc.yaml names all that each stage reads, and nothing that would retrain without need."""

import ast
import filecmp
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, run

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# src/pipeline can refuse, stop and resume, but computes nothing (import-linter checks that).
EXCEPT = "src/pipeline/"


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
    """The file and all modules that it imports, directly or through others."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imported(ROOT / name))
    return seen


def code_deps(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "stages/"))]


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_imports_lies_in_its_deps(stage: str) -> None:
    modules = {name for name in closure(f"stages/{stage}.py") if not name.startswith(EXCEPT)}
    deps = code_deps(stage)
    for name in modules:
        assert any(name == dep or name.startswith(f"{dep}/") for dep in deps), name
    for dep in deps:
        assert any(name == dep or name.startswith(f"{dep}/") for name in modules), dep


def test_code_is_a_dep_by_package() -> None:
    packages = {f"src/{path.parent.name}" for path in ROOT.glob("src/*/__init__.py")}
    packages |= {"src/device.py", "src/share.py", "src/pictures.py"}
    for stage in STAGES:
        assert set(code_deps(stage)) <= packages | {f"stages/{stage}.py"}


def test_packages_have_nothing_to_import() -> None:
    """`import src.data.split` must not run what other modules of src/data need."""
    for path in [*ROOT.glob("src/**/__init__.py"), ROOT / "stages/__init__.py"]:
        assert path.read_text() == ""


def test_training_imports_no_figure_and_no_explanation() -> None:
    names = closure("stages/train.py")
    assert not any("figures" in name or "explanation" in name for name in names)


def test_the_demo_has_the_same_pipeline() -> None:
    """It has copies, because `dvc metrics diff` and `dvc plots` do not follow links."""
    templates = [str(path.relative_to(ROOT)) for path in ROOT.glob(".dvc/plots/*.json")]
    assert len(templates) == 3
    for name in ("dvc.yaml", ".dvcignore", *templates):
        assert filecmp.cmp(ROOT / name, ROOT / "demo" / name, shallow=False)
    for name in ("src", "stages"):
        assert (ROOT / "demo" / name).resolve() == ROOT / name


@pytest.mark.parametrize("project", [ROOT, ROOT / "demo"], ids=["root", "demo"])
def test_git_ignores_what_dvc_keeps(project: Path) -> None:
    """Else DVC would write it into a .gitignore, in any clone that runs the pipeline."""
    outs = [out for stage in STAGES.values() for out in stage["outs"]]
    ignored = run(project, "git", "check-ignore", *outs).stdout.split()
    assert sorted(ignored) == sorted(outs)


def test_it_reads_like_a_page() -> None:
    lines = (ROOT / "dvc.yaml").read_text().splitlines()
    assert len(lines) <= 160
    assert max(map(len, lines)) <= 100


def test_a_stage_has_no_flags() -> None:
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"exec python -u -m stages.{name}"


def nodes(tree: ast.AST) -> list[Any]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize(
    "folder", ["src", "stages", "benchmarks", "recipes", "page", "demo", "release"]
)
def test_functions_and_modules_stay_short(folder: str) -> None:
    for path in (ROOT / folder).glob("**/*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= (50 if folder == "stages" else 260), path
        for node in nodes(ast.parse(text)):
            assert node.end_lineno - node.lineno < 40 or folder == "stages", (path, node.name)
