"""What a clone gets: the same bytes everywhere, and a demo that experiments leave whole."""

from pathlib import Path

import pytest

from tests.conftest import ROOT, run


def test_line_ends_are_those_that_were_committed(tmp_path: Path) -> None:
    """As on Windows, where git may turn them round: DVC's digests and the scripts go by bytes."""
    folder = tmp_path / "clone"
    run(tmp_path, "git", "-c", "core.autocrlf=true", "clone", "-q", str(ROOT), str(folder))
    run(folder, "git", "config", "core.autocrlf", "true")
    ends = run(folder, "git", "ls-files", "--eol").stdout
    assert "i/lf" in ends
    assert "crlf" not in ends
    assert "mixed" not in ends


@pytest.mark.slow
@pytest.mark.parametrize("apart", [[], ["--temp"]], ids=["here", "apart"])
def test_an_experiment_leaves_the_links_of_the_demo(apart: list[str], tmp_path: Path) -> None:
    """DVC adds what a stage reads to the experiment's commit, also from behind a link."""
    run(tmp_path, "git", "clone", "-q", str(ROOT), "clone")
    demo = tmp_path / "clone/demo"
    for name in ("user.name", "user.email"):
        run(demo, "git", "config", name, "tests@example.com")
    run(demo, "dvc", "exp", "run", *apart, "-n", "x", "-S", "data.shapes.train=300", "download")
    # The other stages have no outputs yet, of which DVC complains.
    run(demo, "dvc", "exp", "apply", "x", check=False)
    changed = run(demo, "git", "status", "--porcelain").stdout.split()[1::2]
    assert "demo/params.yaml" in changed
    assert not [name for name in changed if name.startswith(("demo/src", "demo/stages"))]
    for name in ("src", "stages"):
        assert (demo / name).is_symlink()
