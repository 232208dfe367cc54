"""The pinned CIFAR-10 archive, from the network or a local copy, checked down to the pixels.

The binary version is read, never the pickled one, and nothing is extracted to the disk.
What counts is the content: any lossless copy, whatever its order and its checksum, will do.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.data.records import RECORD_BYTES, canonical_order, content_digest
from src.sources.archive import CLASS_NAMES, TEST_BATCH, TRAIN_BATCHES, fault, read_members

RETRIES = 2  # after the first try; pooch waits 1 s, then 2 s
ABANDONED_S = 3600  # a live download writes far more often than this


@dataclass(frozen=True)
class Source:
    """Where an archive lies and what must be in it (digests as in cifar_binary)."""

    url: str
    md5: str
    train_digest: str
    test_digest: str
    batch_records: int  # in each of the five train batches and in the test batch
    classes: tuple[str, ...]  # by label


CIFAR10 = Source(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train_digest="55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
    test_digest="325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
    batch_records=10_000,
    classes=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    ),
)  # fmt: skip


def load_cifar10(
    local: Path | None, source: Source = CIFAR10, cache: Path | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]:
    """Train records, test records, both (N, 3073) in canonical order, and the class names.

    local: an archive on this machine (CIFAR10_ARCHIVE), or None to fetch `source` into `cache`.
    Raises InputError where the archive can't be had or is not CIFAR-10, pixel for pixel.
    """
    archive = fetch(source, cache) if local is None else local
    if not archive.is_absolute():
        raise fault(archive, "is not an absolute path")
    try:
        there = archive.is_file()
    except OSError as error:
        raise fault(archive, f"cannot be read ({error.strerror})") from error
    if not there:
        raise fault(archive, "is not there, or not a file")
    members = read_members(archive, source.batch_records * RECORD_BYTES)
    names = members[CLASS_NAMES].decode(errors="replace").split()
    if names != [*source.classes]:
        raise fault(archive, f"{CLASS_NAMES} does not hold {', '.join(source.classes)}")
    train = b"".join(members[name] for name in TRAIN_BATCHES)
    return (
        _records(train, source.train_digest, len(names), archive, "train"),
        _records(members[TEST_BATCH], source.test_digest, len(names), archive, "test"),
        names,
    )


def _records(
    content: bytes, digest: str, classes: int, archive: Path, split: str
) -> NDArray[np.uint8]:
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    highest = records[:, 0].max()
    if highest >= classes:
        raise fault(archive, f"a {split} label is {highest}, not 0 to {classes - 1}")
    if content_digest(records) != digest:
        raise fault(archive, f"its {split} images are not the official ones (digest {digest})")
    return canonical_order(records)


def fetch(source: Source, cache: Path | None = None, timeout_s: float = 30.0) -> Path:
    """The archive's path in `cache`, downloaded where it is not there yet or is damaged.

    cache: a folder, by default this project's own in the user's cache.
    timeout_s: longest wait to connect, and for the next bytes.
    Raises InputError; a file that fails its checksum never gets the archive's name.
    """
    import pooch

    folder = pooch.os_cache("cifar-resnet") if cache is None else cache
    name = source.url.rpartition("/")[2]
    pooch.get_logger().setLevel("WARNING")  # one sentence at the end, not a line for each try
    _remove_abandoned(folder)
    registry, urls = {name: f"md5:{source.md5}"}, {name: source.url}
    store = pooch.create(folder, "", registry=registry, urls=urls, retry_if_failed=RETRIES)
    try:
        return Path(store.fetch(name, downloader=_downloader(timeout_s)))
    except (OSError, ValueError) as error:  # what requests raises is an OSError too
        raise fault(source.url, _reason(error, timeout_s)) from error


def _remove_abandoned(folder: Path) -> None:
    """Delete what killed downloads left; pooch draws a new name each time and never looks."""
    for path in folder.glob("tmp*"):
        with suppress(OSError):  # another process may have been faster
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def _downloader(timeout_s: float) -> Callable[..., None]:
    """pooch's HTTP download, with a bar that is closed after a failed try too."""
    from pooch import HTTPDownloader
    from requests.exceptions import HTTPError
    from tqdm import tqdm

    def download(url: str, output_file: str, pooch: Any) -> None:
        # disable=None: only on a terminal. total=1: pooch tests the bar's truth, then sets it.
        with tqdm(total=1, disable=None, unit="B", unit_scale=True, desc="CIFAR-10") as bar:
            http = HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=timeout_s)
            try:
                http(url, output_file, pooch)
            except HTTPError as error:
                if error.response is not None:
                    error.response.close()  # pooch leaves its socket open
                raise

    return download


def _reason(error: Exception, timeout_s: float) -> str:
    from requests.exceptions import ChunkedEncodingError, HTTPError, RequestException

    if isinstance(error, HTTPError) and error.response is not None:
        return f"the server answered with status {error.response.status_code}"
    if isinstance(error, ChunkedEncodingError):
        return "the connection was cut before the end of the file"
    if "Read timed out" in str(error):
        return f"the server sent nothing for {timeout_s:g} s"
    if isinstance(error, RequestException):
        return f"cannot be reached ({type(error).__name__})"
    if isinstance(error, ValueError):
        return "the file there is not the archive (its md5 differs)"
    return f"cannot be stored ({error})"
