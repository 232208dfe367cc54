"""Files as they were at a git revision or in an experiment, out of git and DVC's cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.pipeline.errors import InputError, one_line

WORKSPACE = "workspace"  # DVC's own word for the working copy


def read_at(revision: str, paths: Sequence[Path]) -> list[bytes]:
    """Contents of files of the project in whose folder the command runs.

    revision: what git knows (HEAD, a branch, a commit), an experiment's name, or WORKSPACE.
    Raises InputError for a revision that nobody knows, and for a file that is not at hand.
    """
    from dvc.exceptions import DvcException

    path, contents = paths[0], []
    try:
        files, folder = project_at(revision)
        for path in paths:
            contents.append(files.read_bytes(str(folder / path)))
    except FileNotFoundError as error:
        raise InputError(f"{one_line(revision)}: {path} {absent(revision)}") from error
    except OSError as error:
        raise InputError(
            f"{one_line(revision)}: {path} cannot be read ({error.strerror or error}); "
            "`dvc checkout` writes it anew"
        ) from error
    except DvcException as error:
        raise InputError(
            f"{one_line(revision)}: DVC cannot read {path} ({' '.join(str(error).split())}); "
            "run this in the project's folder"
        ) from error
    return contents


def project_at(revision: str) -> tuple[Any, Path]:
    """DVC's view of the files at a revision, and where this project's folder lies in it.

    Raises InputError for a revision that nobody knows.
    """
    from dvc.api import DVCFileSystem
    from dvc.scm import NoSCM, SCMError

    here = DVCFileSystem()
    if revision == WORKSPACE:
        return here, Path()
    if isinstance(here.repo.scm, NoSCM):
        raise InputError(
            f"{one_line(revision)}: this folder is no git repository, so it has neither revisions "
            "nor experiments; clone the project with git"
        )
    # At a revision DVC begins at the root of the git repository: for the demo, which is a project
    # inside another one, it would read the other one's outputs.
    folder = Path(here.repo.root_dir).resolve().relative_to(Path(here.repo.scm.root_dir).resolve())
    try:
        # For DVC an empty name means the working copy.
        files = DVCFileSystem(rev=revision or "''", subrepos=True)
        files.isdir("/")  # DVC looks a revision up when something of it is first read
    # UnicodeError: the name is no text; AttributeError: it is that of a file, as HEAD:README.md.
    except (SCMError, UnicodeError, AttributeError) as error:
        if "ambiguous" in str(error):
            raise InputError(
                f"{one_line(revision)}: experiments of several commits have this name; "
                "`git for-each-ref refs/exps` lists their whole names, which are taken too"
            ) from error
        raise InputError(
            f"{one_line(revision)}: is neither a git revision nor an experiment; "
            "`git log` and `dvc exp list` have their names"
        ) from error
    return files, folder


def absent(revision: str) -> str:
    """The rest of a sentence about an output that neither the folder nor the cache has."""
    if revision == WORKSPACE:
        return "is not there; run `dvc repro` to make it"
    return (
        "is not in DVC's cache, so that run was made elsewhere, or not to its end, or its results "
        "are deleted; check it out, then run `make weights` and `dvc repro download` if it is the "
        "published run, else `dvc repro`, or `dvc pull` if a remote of yours has it"
    )
