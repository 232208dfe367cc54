"""This process's share of the machine: its device, its cores, and among jobs a GPU of its own."""

import fcntl
import glob
import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

import torch

from src.pipeline.errors import InputError

# sm_90: machine code; compute_90: an intermediate code. a: for this very architecture alone.
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# More threads, jobs or loader processes than this are a slip of the hand; on the threads torch may
# hang.
MOST = 1024


def whole_number(name: str, least: int = 1) -> int | None:
    """An environment variable from `least`, 0 or 1, to MOST; None where it is unset."""
    text = os.environ.get(name)
    if text is None:
        return None
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdecimal() and (digits or not least)):
        rule = "a whole number above 0" if least else "a whole number"
        raise InputError(f"{name}: {text!r} is not {rule} (environment variable)")
    # Python refuses to read a number of thousands of digits.
    if len(digits) > len(str(MOST)) or int(digits or 0) > MOST:
        raise InputError(f"{name}: {text} is more than {MOST:,}; set fewer (environment variable)")
    return int(digits or 0)


def jobs() -> int | None:
    """The environment's JOBS: how many processes like this one share the machine."""
    return whole_number("JOBS")


def own_cores() -> int:
    """The cores for this process.

    They are divided by JOBS, not by what happens to run: their number decides a result's bits.
    """
    return max(1, cores() // (jobs() or 1))


def cores() -> int:
    """The cores that the system lets this process use, fewer than the machine's in a container."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    there = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, math.floor(min([there, *quotas()])))


def quotas() -> Iterator[float]:
    """The processor time that each control group around this process allows, in cores."""
    for line in read(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS
        # In a container the path may be that of the host and not exist here; its parents do.
        inner = root / path.lstrip("/")
        yield from (quota(folder) for folder in (inner, *inner.parents) if root in folder.parents)
        yield quota(root)


def quota(group: Path) -> float:
    """The cores' worth of time of one control group, version 2 or 1; infinite without a limit."""
    of_v1 = (read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    limit = (read(group / "cpu.max") or " ".join(of_v1)).split()
    # A group without a limit has "max" (version 2) or -1 (version 1).
    bounded = len(limit) == 2 and all(word.isdecimal() for word in limit)
    return int(limit[0]) / int(limit[1]) if bounded else math.inf


def read(path: Path) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def pick_device() -> torch.device:
    """The environment's DEVICE (cuda, cuda:1, mps or cpu), else the best one that torch can use."""
    name = os.environ.get("DEVICE")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    others = ["mps", "cpu"] if torch.backends.mps.is_available() else ["cpu"]
    if name in others:
        return torch.device(name)
    asked = indices(name, gpus, others) if name else range(gpus)
    faults = {index: missing_kernels(index) for index in asked}
    usable = [index for index, fault in faults.items() if fault is None]
    if name and not usable:
        raise InputError(
            f"DEVICE: {faults[asked[0]]}; install a build of torch for it (an older GPU needs an "
            "older build) or set DEVICE=cpu"
        )
    for fault in filter(None, faults.values()):
        print(f"note: {fault}; it is not used")
    return gpu_of(usable) if usable else torch.device(others[0])


def indices(name: str, gpus: int, others: Sequence[str]) -> Sequence[int]:
    """The GPUs that DEVICE names, at least one; InputError where it names none that is here."""
    place = re.fullmatch(r"cuda(?::(\d+))?", name)
    if place and int(place[1] or 0) < gpus:
        return range(gpus) if place[1] is None else [int(place[1])]
    last = f" to cuda:{gpus - 1}" if gpus > 1 else ""
    numbered = [f"{gpus} GPU{'s' * (gpus > 1)} (cuda:0{last})"] if gpus else []
    there = ", ".join([*numbered, *others])
    raise InputError(f"DEVICE: {name!r} is not on this machine, which has {there}")


def missing_kernels(index: int) -> str | None:
    """Why the installed torch computes nothing on a GPU; None where it does."""
    built = torch.cuda.get_arch_list()
    capability = torch.cuda.get_device_capability(index)
    known = [match for match in map(ARCHITECTURE.fullmatch, built) if match]
    # On AMD's GPUs no architecture is known, so torch itself must tell.
    if not known or any(runs_on(match, capability) for match in known):
        return None
    return (
        f"{torch.cuda.get_device_name(index)} (cuda:{index}) has compute capability "
        f"{capability[0]}.{capability[1]}, for which torch {torch.__version__} has no kernels, "
        f"only {', '.join(built)}"
    )


def runs_on(architecture: re.Match[str], capability: tuple[int, int]) -> bool:
    """Whether a GPU runs what was compiled for an architecture."""
    kind, major, minor, only = architecture.groups()
    built = int(major), int(minor)
    if only == "a":
        return built == capability
    if kind == "compute":
        # The driver compiles it for any later GPU.
        return built <= capability
    return built[0] == capability[0] and built[1] <= capability[1]


def gpu_of(usable: Sequence[int]) -> torch.device:
    """The first of these GPUs; with JOBS, one of those that the fewest other jobs have."""
    place, others = 0, 0
    if jobs() is not None:
        names = tuple(str(torch.cuda.get_device_properties(index).uuid) for index in usable)
        place, others, _ = claim(names)
    device = torch.device("cuda", usable[place])
    if others:
        print(f"note: no GPU is free; this job shares {device} with {others} other(s)")
    # Streams and graphs are made on the current one.
    torch.cuda.set_device(device)
    return device


class Claim(NamedTuple):
    """A GPU's place in a list, how many other jobs have it too, and the locked file."""

    place: int
    others: int
    lock: IO[str]


# A process keeps what it has claimed until it ends.
@cache
def claim(names: tuple[str, ...]) -> Claim:
    """One of these GPUs, of those that the fewest jobs of this user have."""
    folder = Path(tempfile.gettempdir()) / f"cifar-resnet-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with open(folder / "choosing.lock", "a", opener=private) as choosing:
            # Two jobs that count at one moment would choose alike.
            fcntl.flock(choosing, fcntl.LOCK_EX)
            others = [in_use(folder, name) for name in names]
            place = others.index(min(others))
            slots = (locked(folder / f"{names[place]}.{slot}.lock") for slot in count())
            return Claim(place, others[place], next(filter(None, slots)))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot hold the GPUs' locks ({error.strerror}); "
            "set TMPDIR to a folder of yours, or unset JOBS"
        ) from error


def locked(path: Path) -> IO[str] | None:
    """The file, locked until it is closed; None where another process has it."""
    file = open(path, "a", opener=private)  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    # Otherwise the loader's workers would hold it for seconds after this process was killed.
    os.register_at_fork(after_in_child=file.close)
    return file


def in_use(folder: Path, name: str) -> int:
    """How many jobs have a GPU: its files that another process has locked."""
    return sum(map(is_locked, folder.glob(f"{glob.escape(name)}.*.lock")))


def is_locked(path: Path) -> bool:
    with open(path, "a", opener=private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
