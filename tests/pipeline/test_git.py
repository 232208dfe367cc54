"""What git does not know is said in a sentence, or is nothing."""

import re
from pathlib import Path

import pytest

from src.pipeline.errors import InputError
from src.pipeline.git import commit_at, commit_of, experiments, git
from tests.conftest import run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    run(tmp_path, "git", "init", "-q")
    (tmp_path / "käfer.txt").write_text(" käfer\n")
    run(tmp_path, "git", "add", ".")
    run(tmp_path, "git", "commit", "-qm", "start")
    return tmp_path


def test_what_git_prints_is_handed_on_as_it_is(repository: Path) -> None:
    assert git(repository, "show", "HEAD:käfer.txt") == " käfer\n"
    assert git(repository, "ls-files", "-z", Path("käfer.txt")) == "käfer.txt\0"


def test_a_command_that_fails_is_named_with_git_s_words(repository: Path) -> None:
    sentence = f"`git show HEAD:none` failed in {repository} (fatal: "
    with pytest.raises(InputError, match=re.escape(sentence)) as raised:
        git(repository, "show", "HEAD:none")
    assert "\n" not in str(raised.value)
    assert git(repository, "show", "HEAD:none", check=False) == ""


def test_an_experiment_is_found_by_its_name(repository: Path) -> None:
    assert experiments(repository) == {}
    head = commit_at(repository, "HEAD")
    assert head == run(repository, "git", "rev-parse", "HEAD").stdout.strip()
    run(repository, "git", "update-ref", "refs/exps/ab/cd/faster", "HEAD")
    assert experiments(repository) == {"faster": ["refs/exps/ab/cd/faster"]}
    assert commit_of(repository, "faster") == commit_of(repository, head[:9]) == head
    assert commit_at(repository, "faster") == commit_at(repository, 40 * "0") == ""
    with pytest.raises(InputError, match=r"^slower: no such experiment; `dvc exp list` names them"):
        commit_of(repository, "slower")
    run(repository, "git", "update-ref", "refs/exps/ef/01/faster", "HEAD")
    with pytest.raises(InputError, match=r"^faster: 2 experiments have this name; `dvc exp list"):
        commit_of(repository, "faster")


def test_a_folder_without_git_has_no_experiments(tmp_path: Path) -> None:
    assert experiments(tmp_path) == {}
