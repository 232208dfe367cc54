"""A finished tiny project whose outputs are published as a release's are."""

import shutil
from pathlib import Path

import pytest

from release.outputs import OUTPUTS, push
from tests.conftest import ROOT, run


@pytest.fixture(scope="session")
def published(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed project with its outputs in git; tests must not change it."""
    folder = Path(shutil.copytree(done, tmp_path_factory.mktemp("release") / "p", symlinks=True))
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    shutil.copy(ROOT / ".gitattributes", folder)
    (folder / OUTPUTS).mkdir(parents=True)
    shutil.copy(ROOT / OUTPUTS / ".gitignore", folder / OUTPUTS)
    push(folder)
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "release")
    return folder


@pytest.fixture
def fresh(published: Path, tmp_path: Path) -> Path:
    """A clone of it by git alone, as anybody's."""
    run(tmp_path, "git", "clone", "-q", published.as_uri(), "fresh")
    return tmp_path / "fresh"


@pytest.fixture
def own(published: Path, tmp_path: Path) -> Path:
    """A copy with data and cache, as that of the person who ran it."""
    return Path(shutil.copytree(published, tmp_path / "own", symlinks=True))
