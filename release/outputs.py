"""What a run wrote, kept in the repository itself, so that git alone brings the network along.

`python -m release.outputs push [FOLDER]` puts the outputs that FOLDER's dvc.lock records into
FOLDER/release/outputs, a DVC remote that is a folder, and hands them to git. `… pull [FOLDER]`
takes them out again: `dvc pull --allow-missing`, but a file that should be there and is not is an
error.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from release.result import FILE as RESULT
from release.result import read_results
from src.pipeline import paths
from src.pipeline.command import not_started, run_command
from src.pipeline.errors import InputError
from src.pipeline.git import git
from src.pipeline.lock import md5, read_lock

OUTPUTS = "release/outputs"
# 184 MB that the download stage makes anew, pixel for pixel.
DATA = ("data/train.bin", "data/test.bin")


def shipped(project: Path) -> dict[str, str]:
    """The md5 of each output in dvc.lock that a release ships, by path.

    Not the data, nor what dvc.yaml keeps out of DVC's cache: metrics are in git.
    """
    shipped = {name for outs in outs_of(project).values() for name in outs} - set(DATA)
    outs = [out for stage in read_lock(project / paths.LOCK).values() for out in stage.outs.items()]
    return {str(path): name for path, name in outs if name and str(path) in shipped}


def outs_of(project: Path) -> dict[str, list[str]]:
    """Each stage's outputs by dvc.yaml, without metrics; InputError where it is damaged."""
    try:
        stages = yaml.safe_load((project / paths.PIPELINE).read_text(encoding="utf-8"))["stages"]
        return {name: [*map(path_of, stage.get("outs", []))] for name, stage in stages.items()}
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{paths.PIPELINE}: cannot be read ({' '.join(str(error).split())}); `git checkout "
            f"HEAD -- {paths.PIPELINE}` brings the last commit's back"
        ) from error


def path_of(out: str | dict[str, Any]) -> str:
    """Of an output in dvc.yaml, which is a path or a path with options."""
    return out if isinstance(out, str) else next(iter(out))


def stored(folder: Path) -> dict[str, Path]:
    """The files in the DVC remote `folder` by their md5, which is their name."""
    return {path.parent.name + path.name: path for path in folder.glob("files/md5/??/*")}


def missing(project: Path, folder: Path) -> list[str]:
    """What a release should ship and `folder` lacks."""
    there = stored(folder)
    return [path for path, name in shipped(project).items() if name not in there]


def damaged(project: Path, folder: Path) -> list[Path]:
    """The files of the release in `folder` whose content is not what their name says.

    DVC itself looks no more once a file has been right.
    """
    there = stored(folder)
    return [there[name] for name in shipped(project).values() if md5(there[name]) != name]


def check_recorded(project: Path, outputs: dict[str, str]) -> None:
    """The end where dvc.lock's run is not the one that docs/result.yaml tells of."""
    if not (file := project / RESULT).exists():
        return
    network = read_results(file)["default"].get("weights", {})
    if network.get("md5") != outputs.get(str(paths.WEIGHTS)):
        sys.exit(
            f"error: dvc.lock records another network than {RESULT}; `make figures` records its "
            "run first"
        )


def command(project: Path, *words: str) -> None:
    """Run a command that says itself what is wrong."""
    try:
        failed = subprocess.run(words, cwd=project, check=False).returncode
    except OSError as error:
        raise not_started(words[0], error) from error
    if failed:
        sys.exit(f"error: `{' '.join(words[:2])}` failed in {project}; its own message is above")


def push(project: Path) -> None:
    """Replace the release's files by the outputs of the project's last run.

    What `dvc push` of other runs has put there is not the release's, and stays out of git.
    """
    folder, outputs = project / OUTPUTS, shipped(project)
    check_recorded(project, outputs)
    # By file: of several stages' names DVC 3.67 takes one.
    command(project, "dvc", "push", "--remote", "release", *outputs)
    if lacking := missing(project, folder):
        sys.exit(f"error: {', '.join(lacking)}: not in DVC's cache; run `dvc repro`, then this")
    there = stored(folder)
    files = {str(there[name].relative_to(project)) for name in outputs.values()}
    if old := released(project) - files:
        command(project, "git", "rm", "--quiet", "--force", *sorted(old))
    command(project, "git", "add", "--force", *sorted(files))
    size = sum((project / file).stat().st_size for file in files)
    print(f"{project / OUTPUTS}: {len(files)} files, {size / 1e6:.1f} MB; commit them")


def released(project: Path) -> set[str]:
    """The release's files, which are those that git knows; none where there is no git."""
    return set(git(project, "ls-files", f"{OUTPUTS}/files", check=False).split())


def pull(project: Path, folder: Path) -> None:
    """Put a release's outputs where the stages write them; `folder` is the DVC remote."""
    home = folder.parents[1]
    if lost := [file for file in released(home) if not (home / file).exists()]:
        sys.exit(
            f"error: {len(lost)} of the release's files are gone; "
            f"`git checkout HEAD -- {OUTPUTS}` in {home.absolute()} brings them back"
        )
    if not stored(folder):
        sys.exit(f"error: {folder}: no run has been published there; `make repro` makes its own")
    if lacking := missing(project, folder):
        sys.exit(
            f"error: dvc.lock records another run than the published one ({lacking[0]} is not in "
            f"{folder}); put it aside by `git stash` or, if it is committed, `git switch` to a "
            "branch without it"
        )
    if broken := damaged(project, folder):
        sys.exit(
            f"error: {broken[0]}: is damaged; `git checkout HEAD -- {OUTPUTS}` in "
            f"{home.absolute()} brings it back"
        )
    command(project, "dvc", "pull", "--remote", "release", *shipped(project))


def main() -> None:
    """Push or pull, as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["push", "pull"])
    parser.add_argument("project", type=Path, nargs="?", default=Path())
    asked = parser.parse_args()
    if asked.verb == "push":
        push(asked.project)
    else:
        pull(asked.project, asked.project / OUTPUTS)


if __name__ == "__main__":
    run_command(main)
