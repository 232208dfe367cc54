"""A file over HTTP: never beyond a limit, taken up where a broken try left it, one fetch at a time.

What has come waits as NAME.part beside the file's place, and NAME.part.json says of which file on
the server it is a part. Only what the caller's check has let pass gets the name itself.
"""

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from src.pipeline.errors import InputError
from src.pipeline.files import write_json

if TYPE_CHECKING:
    from requests import Response

PAUSES_S = (1, 2)  # before the second and the third try
CHUNK_BYTES = 2**16
GO_ON = "run again to go on from there"
Check = Callable[[Path], None]
Fault = Callable[[str, str], InputError]  # of a place and what is wrong there


def download(
    url: str, path: Path, limit: int, check: Check, refusal: Fault, timeout_s: float
) -> None:
    """Fetch `url` to `path`, unless a file that passes `check` is there.

    limit: how many bytes are taken at most. check: raises InputError for a wrong file.
    refusal: makes the InputErrors, which name the address without user and password.
    timeout_s: longest wait to connect, and for the next bytes.
    Raises InputError; what came over a broken line is kept, and a later call asks for the rest.
    """

    def fault(place: str, what: str) -> InputError:
        return refusal(without_user(place), what)

    if not url.startswith(("https://", "http://")):
        raise fault(url, "is not an http or https address")
    try:
        if not _passes(path, check):
            with _alone(path):
                if not _passes(path, check):  # another process may have fetched it
                    _fetch(url, path, limit, check, fault, timeout_s)
    except OSError as error:
        raise fault(url, f"cannot be stored ({error})") from error


def without_user(url: str) -> str:
    """The address without the user's name and password that may stand in it."""
    return re.sub(r"(?<=://)[^/?#]*@", "", url)


def _passes(path: Path, check: Check) -> bool:
    with suppress(InputError):
        if path.is_file():
            check(path)
            return True
    return False


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of `path`; wait where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock with the process, however that ends.
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: another process is fetching it; waiting", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(url: str, path: Path, limit: int, check: Check, fault: Fault, timeout_s: float) -> None:
    part = path.with_name(f"{path.name}.part")
    for pause in (*PAUSES_S, None):
        failure = _try(url, part, limit, fault, timeout_s) or _refusal(url, part, check)
        if failure is None:
            part.replace(path)
            _drop(part)
            return
        if pause is None:
            raise failure
        time.sleep(pause)


def _try(url: str, part: Path, limit: int, fault: Fault, timeout_s: float) -> InputError | None:
    """Receive the rest of the part; a failure that another try may mend is returned."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        _receive(url, part, limit, fault, timeout_s)
    except (RequestException, HTTPError) as error:
        return fault(url, _reason(error, timeout_s))
    return None


def _refusal(url: str, part: Path, check: Check) -> InputError | None:
    """Why the part, complete, is not the file that is meant; then it goes."""
    try:
        check(part)
    except InputError as error:
        _drop(part)
        return InputError(str(error).replace(str(part), without_user(url), 1))
    return None


def _receive(url: str, part: Path, limit: int, fault: Fault, timeout_s: float) -> None:
    """Append to the part until the file's end."""
    from tqdm import tqdm

    from src.pipeline.progress import hidden

    begun, validator = _begun(url, part)
    with _ask(url, begun, validator, fault, timeout_s) as response:
        response.raise_for_status()
        if response.status_code != 206 or not begun:
            _begin(url, part, response)
            begun = 0
        left = response.raw.length_remaining
        total = None if left is None else begun + left
        with (
            open(part, "ab") as file,
            tqdm(
                desc=part.stem, initial=begun, total=total, disable=hidden(),
                unit="B", unit_scale=True,
            ) as bar,
        ):  # fmt: skip
            # Raw: a server may take the archive's gzip for an encoding of the transfer.
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                if file.tell() + len(chunk) > limit:
                    _drop(part)
                    raise fault(url, f"sends more than {limit:,} bytes, so it is not the archive")
                file.write(chunk)
                bar.update(len(chunk))


def _ask(url: str, begun: int, validator: str, fault: Fault, timeout_s: float) -> "Response":
    """The server's answer: the rest, or the whole file where it has no such rest."""
    import requests

    headers = {"Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=timeout_s)
    except requests.RequestException:
        raise
    except OSError as error:
        # A file of certificates that is not there, say.
        raise fault(url, f"cannot be reached ({error})") from error
    place = response.headers.get("Content-Range", "")
    other = response.status_code == 206 and not place.startswith(f"bytes {begun}-")
    if begun and (other or response.status_code == 416):
        response.close()
        return _ask(url, 0, "", fault, timeout_s)
    return response


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _digest(url: str) -> str:
    """The address may hold a password, so its digest is what the note keeps."""
    return hashlib.sha256(url.encode()).hexdigest()


def _begun(url: str, part: Path) -> tuple[int, str]:
    """How many bytes of this address are there, and the validator of the file that they are of."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        note = json.loads(_note(part).read_bytes())
        if note["url_sha256"] == _digest(url):
            return part.stat().st_size, str(note["validator"])
    return 0, ""


def _drop(part: Path) -> None:
    """The part goes first: no note may ever speak of bytes of another file."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _begin(url: str, part: Path, response: "Response") -> None:
    """Make way for the whole file, and note which one it is."""
    _drop(part)
    etag = response.headers.get("ETag", "")
    # HTTP allows no weak ETag in If-Range.
    strong = "" if etag.startswith("W/") else etag
    validator = strong or response.headers.get("Last-Modified", "")
    write_json(_note(part), {"url_sha256": _digest(url), "validator": validator})


def _reason(error: Exception, timeout_s: float) -> str:
    import requests
    import urllib3

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered with status {error.response.status_code}"
    if isinstance(error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return f"the server sent nothing for {timeout_s:g} s ({GO_ON})"
    if isinstance(error, requests.exceptions.InvalidURL | urllib3.exceptions.LocationValueError):
        return "is not a valid address"
    if isinstance(error, urllib3.exceptions.HTTPError):
        return f"the connection was cut before the end of the file ({GO_ON})"
    return f"cannot be reached ({type(error).__name__})"
