"""Device, precision and threads come from the machine or from the environment, never by guess."""

import os
import platform
import sys

import pytest
import torch

from src import device as runtime
from src.pipeline.errors import InputError
from tests.conftest import ROOT, run

CPU = torch.device("cpu")


def test_auto_takes_bf16_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: True)
    assert runtime.resolve_precision("auto", CPU) == "bf16"
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: False)
    assert runtime.resolve_precision("auto", CPU) == "fp32"
    assert runtime.resolve_precision("auto", torch.device("mps")) == "fp32"
    assert runtime.resolve_precision("fp16", CPU) == "fp16"


def test_fp16_is_refused_where_the_optimizer_ignores_its_scale() -> None:
    with pytest.raises(InputError, match=r"train\.precision: fp16 cannot be trained on mps"):
        runtime.resolve_precision("fp16", torch.device("mps"))


@pytest.mark.parametrize(("hardware", "expected"), [(True, "bf16"), (False, "fp16")])
def test_older_gpus_get_fp16(
    hardware: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return hardware or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert runtime.resolve_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"amx_tile": True}, False)],
)
def test_bf16_is_read_off_the_cpu(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert runtime.cpu_has_bf16() is expected


def test_a_torch_that_does_not_say_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert runtime.cpu_has_bf16() is False


@pytest.mark.parametrize("name", ["tpu", "cuda:7", "CPU"])
def test_a_device_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE", name)
    with pytest.raises(InputError, match=f"DEVICE: '{name}' is not on this machine, which has"):
        runtime.pick_device()


def test_the_environment_picks_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE", "cpu")
    assert runtime.pick_device() == CPU


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_threads_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADS", text)
    with pytest.raises(InputError, match="THREADS"):
        runtime.set_threads()


def test_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("THREADS", "1")
    runtime.set_threads()
    try:
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_deterministic_is_asked_of_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        runtime.set_deterministic(True)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        runtime.set_deterministic(False)
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize(("hardware", "noted"), [(True, False), (False, True)])
def test_bf16_in_software_is_remarked_on(
    hardware: bool,
    noted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: hardware)
    # These functions set things for the whole process; other tests cover them.
    monkeypatch.setattr(runtime, "set_deterministic", lambda _: None)
    monkeypatch.setattr(runtime, "keep_freed_memory", lambda: None)
    assert runtime.start("bf16", deterministic=True) == (CPU, "bf16")
    assert ("computes bf16 in software" in capsys.readouterr().out) is noted


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's memory is tuned")
def test_freed_memory_is_kept() -> None:
    """A process that fills and frees 64 MB again and again gets it from the kernel only once."""
    program = """
import resource, sys
from src.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(b"1") * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
    usual, kept = (
        int(run(ROOT, sys.executable, "-c", program, word).stdout) for word in ("usual", "keep")
    )
    assert kept < usual / 10
