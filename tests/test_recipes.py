"""Recipes are valid differences from params.yaml, reach DVC as written, and do not mix."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.run import (
    check_params,
    free_name,
    leaves,
    main,
    merge,
    overrides,
    read_recipe,
    recipe_names,
)
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from tests.conftest import ROOT, committed_params, published_params, run, write_params

RECIPES = recipe_names()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_valid_difference(name: str) -> None:
    """It sets nothing that both the default and the published default have.

    The committed values alone may be yours.
    """
    values, recipe = yaml.safe_load(committed_params()), read_recipe(name)
    defaults = leaves(values), leaves(published_params())
    for key, value in leaves(recipe).items():
        same = [key in default and default[key] == value for default in defaults]
        assert not all(same), f"{key} does not differ from params.yaml"
    Params.model_validate(merge(values, recipe))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_reaches_dvc_as_it_is_written(name: str, tmp_path: Path) -> None:
    """DVC's own parser puts the same values into params.yaml as `dvc exp run -S` does."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_text(committed_params())
    recipe = read_recipe(name)
    apply_overrides(path, list(overrides(recipe)))
    values = yaml.safe_load(committed_params())
    assert yaml.safe_load(path.read_text()) == merge(values, recipe)


TEXTS = [
    "slide", "2024", "010", "true", "null", "1e-5", "nan", "", " ", "a,b", "it's", 'say "it"',
    "a:b=c", "[1]", "{a: 1}", "f(1)", "*.jpg", "C:\\new", "end\\", "\\'", "\\\\'s", "$5", "Käfer",
    "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("value", [*TEXTS, 5, -1, 0.5, 2.0, 1e20, True, False, None])
def test_a_value_reaches_dvc_with_its_type(value: Any, tmp_path: Path) -> None:
    """Alone, in a list and in a mapping of a list, as `augment` has them; read as DVC reads it."""
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import apply_overrides
    from dvc.utils.serialize import load_yaml

    path = tmp_path / "params.yaml"
    path.write_text("value: old\nlist: []\n")
    recipe = {"value": value, "list": [value, {"Blur": {"p": value}}]}
    (given,) = to_path_overrides(overrides(recipe)).values()
    apply_overrides(path, given)
    assert typed(load_yaml(path)) == typed(recipe)


def typed(values: Any) -> str:
    """The values so that 1, 1.0 and true differ."""
    return json.dumps(values)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a committed params.yaml; it is the working directory."""
    (tmp_path / "params.yaml").write_text("seed: 0\ntrain: {lr: 0.1, epochs: 6}\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        run(tmp_path, "git", *words)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RECIPE: dict[str, Any] = {"train": {"lr": "auto"}}


@pytest.mark.parametrize("lr", ["0.1", "auto"])
def test_a_recipe_starts_from_the_commit_and_goes_on_from_itself(lr: str, repository: Path) -> None:
    (repository / "params.yaml").write_text(f"train: {{epochs: 6, lr: {lr}}}\nseed: 0\n")
    check_params(RECIPE, "seed")


@pytest.mark.parametrize("values", ["lr: 0.2, epochs: 6", "lr: auto, epochs: 7", "lr: auto"])
def test_values_that_another_run_left_stop_a_recipe(values: str, repository: Path) -> None:
    (repository / "params.yaml").write_text(f"seed: 0\ntrain: {{{values}}}\n")
    with pytest.raises(
        SystemExit, match=r"error: params\.yaml differs .* `git checkout HEAD -- par"
    ):
        check_params(RECIPE, "seed")


def test_a_run_that_is_not_committed_stops_a_recipe(repository: Path) -> None:
    """Its dvc.lock would go with `git checkout HEAD -- dvc.lock`, as the docs advise afterwards."""
    lock = repository / "dvc.lock"
    lock.write_text("stages: {}\n")
    run(repository, "git", "add", ".")
    run(repository, "git", "commit", "-qm", "a run")
    check_params(RECIPE, "seed")
    lock.write_text("stages: {train: {}}\n")
    with pytest.raises(SystemExit, match=r"^error: dvc\.lock has a run that is not committed"):
        check_params(RECIPE, "seed")
    # The recipe's own run has written its values, and may be gone on with.
    values = yaml.safe_load((repository / "params.yaml").read_text())
    write_params(repository, merge(values, RECIPE))
    check_params(RECIPE, "seed")


def commit_params(folder: Path, values: dict[str, Any]) -> None:
    write_params(folder, values)
    run(folder, "git", "commit", "-qam", "My run")


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [("quick", "best", "train.resolution"), ("best", "quick", "optimizer.decay_norm, train.batch")],
)
def test_a_recipe_that_was_committed_does_not_mix_with_another(
    first: str, second: str, kept: str, repository: Path
) -> None:
    """As after the README's `git commit -am "My run"`. The same recipe may run again."""
    committed = merge(published_params(), read_recipe(first))
    mixed = merge(committed, read_recipe(second))
    commit_params(repository, committed)
    check_params(read_recipe(first), first)
    for values in (committed, mixed):
        write_params(repository, values)
        with pytest.raises(SystemExit) as raised:
            check_params(read_recipe(second), second)
        sentence = f"error: params.yaml has the values of {first}, of which {second} would keep "
        assert str(raised.value).startswith(sentence + kept)
    # The mixture may have been committed too.
    commit_params(repository, mixed)
    with pytest.raises(SystemExit, match=f"has the values of {first}, of which {second} would"):
        check_params(read_recipe(second), second)


@pytest.mark.parametrize("name", RECIPES)
def test_a_committed_edit_of_one_s_own_goes_into_every_recipe(name: str, repository: Path) -> None:
    values = published_params()
    edit = {"train": {"lr": 0.02, "batch_size": 256}, "optimizer": {"momentum": 0.9}}
    # All of quick that best would keep: a recipe is more than that.
    edit["train"]["resolution"] = read_recipe("quick")["train"]["resolution"]
    committed = merge(values, edit)
    commit_params(repository, committed)
    check_params(read_recipe(name), name)
    write_params(repository, merge(committed, read_recipe(name)))
    check_params(read_recipe(name), name)


@pytest.mark.parametrize("old", [{}, {"train": {"mix": "none"}}])
def test_params_that_lack_a_section_are_left_to_dvc(old: dict[str, Any], repository: Path) -> None:
    """DVC then says which parameter it could not override."""
    commit_params(repository, old)
    check_params(read_recipe("best"), "best")


@pytest.mark.parametrize("text", ["train: [", "seed: 2024-13-01", None])
def test_params_that_cannot_be_read_are_one_sentence(text: str | None, repository: Path) -> None:
    path = repository / "params.yaml"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(
        SystemExit, match=r"^error: params\.yaml cannot be read \(.+\); `git checko"
    ):
        check_params(RECIPE, "seed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it names no parameters"),
        ("# later\n", "it names no parameters"),
        ("- 1\n", "it names no parameters"),
        ("train: [", "while parsing a flow node .*"),
        ("seed: 2024-13-01", "month must be in 1..12"),
    ],
)
def test_a_commit_without_readable_params_is_one_sentence(
    text: str, said: str, repository: Path
) -> None:
    path = repository / "params.yaml"
    right = path.read_text()
    path.write_text(text)
    run(repository, "git", "commit", "-qam", "a slip")
    path.write_text(right)
    sentence = rf"error: params\.yaml cannot be read as it was committed last \({said}\); mend it"
    with pytest.raises(SystemExit, match=f"^{sentence}") as raised:
        check_params(RECIPE, "seed")
    assert "\n" not in str(raised.value)
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"^error: params\.yaml cannot be read"):
        check_params(RECIPE, "seed")


def test_a_recipe_run_again_gets_a_name_of_its_own(repository: Path) -> None:
    """DVC refuses the name of another experiment, and its --force would train all over again."""
    head = run(repository, "git", "rev-parse", "HEAD").stdout.strip()
    assert free_name("quick") == "quick"
    for name in ("quick", "quick-2"):
        run(repository, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
    assert free_name("quick") == "quick-3"
    assert free_name("best") == "best"


def test_the_command_names_the_recipe_and_all_its_values(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda _, words: given.append(words))
    monkeypatch.setattr("sys.argv", ["run.py", "best"])
    commit_params(repository, published_params())
    main()
    start = ["dvc", "exp", "run", "-n", "best"]
    flags = [word for value in overrides(read_recipe("best")) for word in ("-S", value)]
    assert given == [start + flags]


def test_without_dvc_it_says_how_to_find_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["run.py", "quick"])
    monkeypatch.setattr("recipes.run.free_name", lambda name: name)
    monkeypatch.setenv("PATH", str(repository))
    monkeypatch.setattr("recipes.run.check_params", lambda *_: None)
    with pytest.raises(InputError, match=r"^dvc cannot be started \(.+\); `source \.venv/bin/act"):
        main()


@pytest.mark.parametrize("words", [[], ["slow"], ["quick", "best"]])
def test_another_name_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run.py", *words])
    with pytest.raises(SystemExit, match=r"^error: name one recipe: best, quick$"):
        main()


def test_it_starts_in_the_project_s_folder() -> None:
    done = run(ROOT, sys.executable, "-m", "recipes.run", check=False)
    assert done.stderr == "error: name one recipe: best, quick\n"


def test_without_git_dvc_has_the_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_params(RECIPE, "seed")
