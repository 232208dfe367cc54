"""What part of the machine a process takes: the device, the cores, one GPU of several."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src import share
from src.pipeline.errors import InputError
from tests.conftest import ROOT

CPU = torch.device("cpu")
# As torch 2.11 for CUDA 13 says it.
CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
TURING, AMPERE, BLACKWELL = (7, 5), (8, 6), (12, 0)


CURRENT: list[torch.device] = []


class Properties:
    def __init__(self, index: int) -> None:
        self.uuid = f"GPU-{index}"


def gpus(
    monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int], built: list[str] = CUDA_13
) -> None:
    """A machine with GPUs of these capabilities, and a torch built for some; none is named."""
    monkeypatch.delenv("DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(torch.cuda, "set_device", CURRENT.append)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["tpu", "cuda:7", "CPU"])
def test_a_device_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, (9, 0))
    monkeypatch.setenv("DEVICE", name)
    with pytest.raises(InputError, match=f"DEVICE: '{name}' is not on this machine, which has"):
        share.pick_device()


def test_the_environment_picks_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE", "cpu")
    assert share.pick_device() == CPU


@pytest.mark.parametrize(
    ("name", "index"),
    [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:2", 2), (None, 0), ("", 0)],
)
def test_any_gpu_that_is_there_can_be_named(
    name: str | None, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, AMPERE, TURING, AMPERE)
    if name is not None:
        monkeypatch.setenv("DEVICE", name)
    CURRENT.clear()
    assert share.pick_device() == torch.device("cuda", index)
    # CUDA makes graphs and streams on the current one.
    assert torch.device("cuda", index) == CURRENT[-1]


@pytest.mark.parametrize(
    ("count", "there"),
    [(3, r"3 GPUs \(cuda:0 to cuda:2\), cpu$"), (1, r"1 GPU \(cuda:0\), cpu$"), (0, "cpu$")],
)
@pytest.mark.parametrize("name", ["cuda:3", "cuda:", "cuda:-1", "cuda:x", "cuda: 0", "gpu"])
def test_a_gpu_that_is_not_there_is_told_how_many_are(
    name: str, count: int, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, *[AMPERE] * count)
    monkeypatch.setenv("DEVICE", name)
    with pytest.raises(
        InputError, match=f"^DEVICE: '{name}' is not on this machine, which has {there}"
    ):
        share.pick_device()


@pytest.mark.parametrize(
    ("built", "capability", "runs"),
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 6), True),
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["sm_80"], (7, 5), False),
        (["sm_80", "compute_80"], (9, 0), True),
        (["compute_90"], (8, 9), False),
        (["compute_80"], (12, 0), True),
        (["sm_90a"], (9, 0), True),
        (["sm_90a"], (9, 1), False),
        (["compute_90a"], (10, 0), False),
        (["sm_100f"], (10, 3), True),
        (["sm_100f"], (12, 0), False),
        (CUDA_13, (7, 0), False),
        (CUDA_13, (6, 0), False),
        (CUDA_13, (8, 9), True),
        (CUDA_13, (10, 3), True),
        (CUDA_13, (11, 0), False),
        (CUDA_13, (12, 1), True),
        (CUDA_13, (13, 0), True),
        # AMD's are told apart otherwise.
        (["gfx90a", "gfx942"], (9, 4), True),
        ([], (9, 0), True),
    ],
)
def test_kernels_run_within_a_major_version_and_ptx_on_later_ones(
    built: list[str], capability: tuple[int, int], runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, capability, built=built)
    assert (share.missing_kernels(0) is None) is runs


def test_a_gpu_without_kernels_is_refused_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, AMPERE, (7, 0))
    monkeypatch.setenv("DEVICE", "cuda:1")
    with pytest.raises(InputError) as raised:
        share.pick_device()
    assert str(raised.value) == (
        "DEVICE: Card 1 (cuda:1) has compute capability 7.0, for which torch "
        f"{torch.__version__} has no kernels, only sm_75, sm_80, sm_86, sm_90, sm_100, sm_120, "
        "compute_120; install a build of torch for it (an older GPU needs an older build) or set "
        "DEVICE=cpu"
    )
    gpus(monkeypatch, (7, 0))
    monkeypatch.setenv("DEVICE", "cuda")
    with pytest.raises(InputError, match=r"^DEVICE: Card 0 \(cuda:0\) has compute capability 7\.0"):
        share.pick_device()


@pytest.mark.parametrize(
    ("capabilities", "expected", "notes"),
    [
        ([(7, 0)], CPU, 1),
        ([(7, 0), (6, 0)], CPU, 2),
        ([(7, 0), AMPERE], torch.device("cuda", 1), 1),
        ([BLACKWELL], torch.device("cuda", 0), 0),
        ([], CPU, 0),
    ],
)
def test_gpus_without_kernels_are_left_out_with_a_note(
    capabilities: list[tuple[int, int]],
    expected: torch.device,
    notes: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpus(monkeypatch, *capabilities)
    assert share.pick_device() == expected
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == notes
    assert all("has no kernels" in line and line.endswith("; it is not used") for line in lines)


def test_mps_comes_after_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert share.pick_device() == torch.device("mps")
    monkeypatch.setenv("DEVICE", "cpu")
    assert share.pick_device() == CPU


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "", "٠", "٣"])
def test_jobs_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", text)
    with pytest.raises(InputError, match=f"^JOBS: '{text}' is not a whole number above 0"):
        share.own_cores()


@pytest.mark.parametrize("text", ["1025", "100000000000", "9" * 5000])
def test_more_threads_than_any_machine_has_are_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREADS", text)
    with pytest.raises(InputError, match=f"^THREADS: {text} is more than 1,024"):
        share.whole_number("THREADS")
    monkeypatch.setenv("THREADS", "1024")
    assert share.whole_number("THREADS") == 1024
    monkeypatch.setenv("THREADS", "0")
    assert share.whole_number("THREADS", least=0) == 0
    with pytest.raises(InputError, match=r"^THREADS: '0' is not a whole number above 0"):
        share.whole_number("THREADS")


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the locks on a machine with two GPUs, of which this process has none yet."""
    monkeypatch.setattr(share.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("JOBS", "3")
    gpus(monkeypatch, AMPERE, AMPERE)
    share.claim.cache_clear()
    yield tmp_path
    share.claim.cache_clear()


def take() -> share.Claim:
    """What another process would get: a lock belongs to whoever has opened the file."""
    return share.claim.__wrapped__(("GPU-0", "GPU-1"))


@pytest.mark.usefixtures("two_gpus")
def test_jobs_take_gpus_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The third shares, and what one gives back is free at once."""
    others = [take()]
    assert share.pick_device() == share.pick_device() == torch.device("cuda", 1)
    assert capsys.readouterr().out == ""
    others += [take(), take()]
    assert [(each.place, each.others) for each in others] == [(0, 0), (0, 1), (1, 1)]
    others.pop(0).lock.close()
    assert take()[:2] == (0, 1)


@pytest.mark.usefixtures("two_gpus")
def test_an_idle_gpu_is_taken_before_one_that_a_job_has() -> None:
    """Though the other one's first slot is free."""
    first, second, third = take(), take(), take()
    assert [each.place for each in (first, second, third)] == [0, 1, 0]
    first.lock.close()
    second.lock.close()
    assert take()[:2] == (1, 0)


@pytest.mark.usefixtures("two_gpus")
def test_a_job_that_must_share_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [take(), take(), take()]
    assert share.pick_device() == torch.device("cuda", 1)
    assert capsys.readouterr().out.startswith(
        "note: no GPU is free; this job shares cuda:1 with 1 other"
    )
    share.claim.cache_clear()
    monkeypatch.setenv("DEVICE", "cuda:0")
    assert share.pick_device() == torch.device("cuda", 0)
    assert capsys.readouterr().out.startswith(
        "note: no GPU is free; this job shares cuda:0 with 2 other"
    )
    assert len(others) == 3


def test_a_killed_job_leaves_its_gpu(two_gpus: Path) -> None:
    """At once, though its loader's processes live for seconds."""
    program = """
import multiprocessing, sys, time
from src import share
place, others, _ = share.claim(("GPU-0", "GPU-1"))
fork = multiprocessing.get_context("fork")
lives = fork.Event()
def sleep():
    lives.set()
    time.sleep(600)
loader = fork.Process(target=sleep)
loader.start()
lives.wait()
print(place, others, loader.pid, flush=True)
sys.stdin.read()
"""
    job = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(two_gpus)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert job.stdout
        place, others, loader = map(int, job.stdout.readline().split())
        assert (place, others) == (0, 0)
        assert take()[:2] == (1, 0)
    finally:
        job.kill()
        job.wait()
    try:
        assert take()[:2] == (0, 0)
    finally:
        os.kill(loader, signal.SIGKILL)
        job.communicate()


def test_without_jobs_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share.tempfile, "gettempdir", lambda: str(tmp_path))
    gpus(monkeypatch, AMPERE, AMPERE)
    assert share.pick_device() == torch.device("cuda", 0)
    assert not list(tmp_path.iterdir())


def test_locks_that_cannot_be_held_are_told(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (two_gpus / "file").write_text("")
    monkeypatch.setattr(share.tempfile, "gettempdir", lambda: str(two_gpus / "file"))
    with pytest.raises(InputError, match=r"cannot hold the GPUs' locks .*; set TMPDIR"):
        share.pick_device()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has it")
def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "quotas", lambda: iter([]))
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert share.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert share.cores() == len(before)


def control_groups(
    monkeypatch: pytest.MonkeyPatch, folder: Path, membership: str, files: dict[str, str]
) -> None:
    """A system of 16 cores with these control groups, of which the process is in some."""
    monkeypatch.setattr(share.os, "sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.setattr(share, "CGROUPS", folder / "cgroup")
    monkeypatch.setattr(share, "MEMBERSHIP", folder / "membership")
    (folder / "membership").write_text(membership)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


V1 = "12:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/system.slice\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, 16),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4),
        ("0::/\n", {"cpu.max": "250000 100000"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "3200000 100000"}, 16),
        ("0::/\n", {}, 16),
        ("0::/\n", {"cpu.max": ""}, 16),
        # The tightest around it, which need not be its own.
        (
            "0::/a.slice/b.scope\n",
            {"a.slice/cpu.max": "200000 100000", "a.slice/b.scope/cpu.max": "800000 100000"},
            2,
        ),
        ("0::/a.slice/b.scope\n", {"a.slice/b.scope/cpu.max": "300000 100000"}, 3),
        ("0::/a.slice\n", {"other.slice/cpu.max": "100000 100000"}, 16),
        # Under version 1 in a container: the host's path is not there, the root is the group.
        (V1, {"cpu/cpu.cfs_quota_us": "600000", "cpu/cpu.cfs_period_us": "100000"}, 6),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        (
            V1,
            {"cpu/docker/a/cpu.cfs_quota_us": "75000", "cpu/docker/a/cpu.cfs_period_us": "25000"},
            3,
        ),
        ("3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"}, 16),
        ("", {"cpu.max": "100000 100000"}, 16),
    ],
)
def test_cores_are_those_that_the_control_groups_allow(
    membership: str,
    files: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    control_groups(monkeypatch, tmp_path, membership, files)
    assert share.cores() == expected


@pytest.mark.parametrize(("jobs", "expected"), [(None, 6), ("2", 3), ("4", 1), ("9", 1)])
def test_jobs_share_the_cores(
    jobs: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_groups(monkeypatch, tmp_path, "0::/\n", {"cpu.max": "600000 100000"})
    if jobs:
        monkeypatch.setenv("JOBS", jobs)
    assert share.own_cores() == expected


def test_a_system_without_control_groups_has_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has neither them nor an affinity."""
    monkeypatch.setattr(share, "MEMBERSHIP", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert share.cores() == 12
    assert list(itertools.islice(share.quotas(), 1)) == []
