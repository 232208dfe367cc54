"""make loses nothing of the user's, and passes names on as they are."""

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, run

# In the place of .venv's Python: it says its arguments, each in a line.
ECHO = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Makefile alone, set up with a Python that only echoes."""
    project = tmp_path / "project"
    (project / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    (project / "requirements.txt").write_text("")
    (project / ".venv/bin/python").write_text(ECHO)
    (project / ".venv/bin/python").chmod(0o755)
    (project / ".venv/.ready").write_text("")
    return project


def test_an_environment_that_is_only_linked_is_not_emptied(folder: Path, tmp_path: Path) -> None:
    """The folder of another project, say, whose packages a `venv --clear` would delete."""
    shared = tmp_path / "shared"
    (folder / ".venv").rename(shared)
    (folder / ".venv").symlink_to(shared)
    os.utime(shared / ".ready", (0, 0))
    refused = run(folder, "make", "weights", check=False)
    assert refused.returncode
    assert refused.stdout.startswith("error: .venv is a link, and set-up would empty what it leads")
    assert (shared / "bin/python").read_text() == ECHO


def test_a_python_that_is_too_old_or_too_new_is_refused(folder: Path) -> None:
    """Before .venv is touched. This one fails as those do that the version check is for."""
    other = folder / "python2"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    os.utime(folder / ".venv/.ready", (0, 0))
    refused = run(folder, "make", "weights", f"PYTHON={other}", check=False)
    assert refused.returncode
    assert refused.stdout.startswith(f"error: {other} is not Python 3.11 to 3.13; name one: make P")
    assert (folder / ".venv/bin/python").read_text() == ECHO


@pytest.mark.parametrize("head", ["#!{}\n", "#!/bin/sh\n'''exec' '{}' \"$0\" \"$@\"\n' '''\n"])
@pytest.mark.parametrize(("python", "ready"), [("there", True), ("gone", False)])
@pytest.mark.parametrize("place", ["plain", "a [1] b", "[x]"])
def test_the_environment_of_a_project_that_was_moved_is_made_anew(
    place: str, python: str, ready: bool, head: str, folder: Path, tmp_path: Path
) -> None:
    """Installers let the shell start Python where its path has a space or is long."""
    folder = folder.rename(tmp_path / place)
    (folder / "there").touch()
    (folder / ".venv/bin/dvc").write_text(head.format(folder / python))
    said = run(folder, "make", "-n", "weights").stdout
    assert ("-m venv --clear .venv" not in said) is ready


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def outside(folder: Path) -> Path:
    """A Python that says what it is asked for, and whose new environment has a pip that does."""
    program(folder / "outside", 'test "$1" != -m || { echo "$@"; cp pip .venv/bin/pip; }')
    program(folder / "pip", 'echo pip "$1" && cp uv .venv/bin/uv')
    program(folder / "uv", 'test "$1" = --version || { echo "$@" && test ! -e offline; }')
    os.utime(folder / ".venv/.ready", (0, 0))
    return folder / "outside"


SYNC = "pip sync --quiet --python .venv/bin/python requirements.txt"


def test_without_a_network_the_old_environment_stays(folder: Path, outside: Path) -> None:
    """Other requirements, as after a `git pull`, are no reason to empty what works."""
    shutil.copy(folder / "uv", folder / ".venv/bin/uv")
    (folder / "requirements.txt").write_text("other==1\n")
    (folder / "offline").touch()
    command = "make", "weights", f"--eval=PYTHON = {outside}"
    failed = run(folder, *command, check=False)
    assert failed.returncode
    assert failed.stdout.splitlines() == ["uv pip sync requirements.txt", SYNC]
    assert (folder / ".venv/bin/python").read_text() == ECHO
    (folder / "offline").unlink()
    assert SYNC in run(folder, *command).stdout
    assert SYNC not in run(folder, *command).stdout


def test_requirements_that_are_only_newer_install_nothing(folder: Path, outside: Path) -> None:
    """As after a `git switch` there and back."""
    shutil.copy(folder / "uv", folder / ".venv/bin/uv")
    said = run(folder, "make", "weights", f"--eval=PYTHON = {outside}").stdout
    assert said.splitlines() == ["-m", "release.outputs", "pull"]


def test_an_environment_without_uv_is_made_anew(folder: Path, outside: Path) -> None:
    """As where set-up was cut off."""
    (folder / ".venv/.ready").unlink()
    said = run(folder, "make", "weights", f"--eval=PYTHON = {outside}").stdout.splitlines()
    assert said[1:5] == [
        "-m venv --clear .venv", "pip install", "uv pip sync requirements.txt", SYNC
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["-dash.png", 'my "best" one.png', "it's.png", "`id`.png", "$5 $(shell id).png"]
)
def test_names_may_have_quotes_blanks_dashes_and_dollars(name: str, folder: Path) -> None:
    said = run(folder, "make", "predict", f"IMAGE={name}").stdout
    assert said.splitlines() == ["-m", "src.predict", "--", name]
    said = run(folder, "make", "predict", "IMAGE=a.png", f"WEIGHTS={name}").stdout
    assert said.splitlines() == ["-m", "src.predict", f"--weights={name}", "--", "a.png"]


def test_without_a_picture_it_asks_for_one(folder: Path) -> None:
    refused = run(folder, "make", "predict", check=False)
    assert refused.returncode
    assert "say which picture: make predict IMAGE=photo.jpg" in refused.stderr


def test_the_app_gets_its_port_and_weights(folder: Path) -> None:
    said = run(folder, "make", "app", "PORT=8001", "WEIGHTS=my own.safetensors").stdout
    assert said.splitlines() == [
        "-m", "src.app", "--weights=my own.safetensors", "--port=8001"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["quick", "best"])
def test_a_recipe_is_run_by_its_name(name: str, folder: Path) -> None:
    said = run(folder, "make", name).stdout
    assert said.splitlines()[1:] == ["-m", "recipes.run", name]
