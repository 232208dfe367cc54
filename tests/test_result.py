"""The result in the repository is the result of the code in the repository."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from src.params import Params
from tests.conftest import ROOT, run

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
IMAGES = sorted((ROOT / "docs/images").glob("*.png"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stranger clones: the files that git has, and no data."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is nothing to clone")
    folder = tmp_path_factory.mktemp("checkout") / "project"
    run(ROOT, "git", "clone", "-q", str(ROOT), str(folder))
    return folder


@pytest.mark.parametrize("place", [".", "demo"])
def test_nothing_has_changed_since_the_run(place: str, checkout: Path) -> None:
    output = run(checkout / place, "dvc", "repro", "--dry", "--allow-missing").stdout
    assert "Running stage" not in output
    assert "Data and pipelines are up to date" in output or output.count("skipping") == 5


@pytest.mark.parametrize("place", [".", "demo"])
def test_metrics_are_those_of_the_lock(place: str) -> None:
    lock = yaml.safe_load((ROOT / place / "dvc.lock").read_text())["stages"]
    for name, stage in lock.items():
        (recorded,) = [out for out in stage["outs"] if out["path"] == f"metrics/{name}.json"]
        content = (ROOT / place / recorded["path"]).read_bytes()
        assert hashlib.md5(content).hexdigest() == recorded["md5"]


def test_pictures_in_the_docs_are_those_of_the_run() -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    assert IMAGES
    for path in IMAGES:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        assert digest == outs[f"plots/{path.name}"], f"run `make figures`: {path.name}"


def test_the_result_keeps_its_promise() -> None:
    evaluation = json.loads((ROOT / "metrics/evaluate.json").read_text())
    assert evaluation["top1"] >= 0.85
    demo = json.loads((ROOT / "demo/metrics/evaluate.json").read_text())
    assert demo["top1"] >= 0.90


def test_docs_name_the_accuracy_of_the_run() -> None:
    top1 = json.loads((ROOT / "metrics/evaluate.json").read_text())["top1"]
    for name in ("README.md", "docs/recipes.md"):
        assert f"{top1:.2%}" in (ROOT / name).read_text(), name


def test_there_are_no_open_ends_in_the_docs() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert "<<" not in path.read_text(), path.name


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_valid_difference(name: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    recipe = yaml.safe_load((ROOT / f"recipes/{name}.yaml").read_text())

    def merge(into: dict[str, object], changes: dict[str, object], path: str = "") -> None:
        for key, value in changes.items():
            assert key in into, f"{path}{key}"
            old = into[key]
            if isinstance(old, dict) and isinstance(value, dict):
                merge(old, value, f"{path}{key}.")
            else:
                assert old != value, f"{path}{key} does not differ from params.yaml"
                into[key] = value

    merge(values, recipe)
    Params.model_validate(values)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_reaches_dvc_as_it_is_written(name: str, tmp_path: Path) -> None:
    """Through dvc's own parser: what `dvc exp run -S` would put into params.yaml."""
    from dvc.utils.hydra import apply_overrides

    from recipes.run import overrides

    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    recipe = yaml.safe_load((ROOT / f"recipes/{name}.yaml").read_text())
    apply_overrides(path, list(overrides(recipe)))
    result = yaml.safe_load(path.read_text())

    def check(found: object, wanted: object) -> None:
        if isinstance(wanted, dict) and isinstance(found, dict):
            for key, value in wanted.items():
                check(found[key], value)
        else:
            assert found == wanted

    check(result, recipe)
