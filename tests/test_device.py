"""Device, precision and threads come from the machine or from the environment, never by guess."""

import os
import platform
import re
import sys
from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path

import numpy as np
import pytest
import torch

from src import device as runtime
from src.pipeline.errors import InputError
from src.training.settings import prepare
from tests.conftest import ROOT, run
from tests.tiny import params, train

CPU = torch.device("cpu")


def test_auto_takes_bf16_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "cpu_computes", lambda _: True)
    assert runtime.resolve_precision("auto", CPU) == "bf16"
    monkeypatch.setattr(runtime, "cpu_computes", lambda _: False)
    assert runtime.resolve_precision("auto", CPU) == "fp32"
    assert runtime.resolve_precision("auto", torch.device("mps")) == "fp32"
    assert runtime.resolve_precision("fp16", CPU) == "fp16"


def test_fp16_is_not_trained_where_the_optimizer_ignores_its_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network that was trained in it elsewhere is not refused."""
    mps = torch.device("mps")
    monkeypatch.setattr(runtime, "pick_device", lambda: mps)
    # It sets things for the whole process; other tests cover it.
    monkeypatch.setattr(runtime, "set_deterministic", lambda _: None)
    assert runtime.start("fp16", True) == (mps, "fp16")
    wanted = params(precision="fp16")
    with pytest.raises(InputError, match=r"train\.precision: fp16 cannot be trained on mps"):
        prepare(wanted.train, wanted.optimizer, wanted.augment, wanted.seed)


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
    [
        ({"avx512_bf16": True}, ["bf16"]),
        ({"amx_bf16": True, "avx512_fp16": False}, ["bf16"]),
        ({"avx512_fp16": True}, ["fp16"]),
        ({"amx_fp16": True, "avx512_bf16": True}, ["bf16", "fp16"]),
        ({"amx_tile": True}, []),
    ],
)
def test_half_precision_is_read_off_the_cpu(
    capabilities: dict[str, bool], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert [name for name in ("bf16", "fp16") if runtime.cpu_computes(name)] == expected


def test_a_torch_that_does_not_say_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert runtime.cpu_computes("bf16") is False


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_threads_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADS", text)
    with pytest.raises(InputError, match="THREADS"):
        runtime.set_threads()


def test_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("THREADS", "3")
    runtime.set_threads()
    try:
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "jobs", "threads", "expected"),
    [
        (8, "2", None, 4), (8, "3", None, 2), (2, "4", None, 1), (12, "4", None, 3),
        (8, "2", "7", 7), (5, "1", None, 5),
    ],
)  # fmt: skip
def test_jobs_share_the_threads(
    cores: int,
    jobs: str,
    threads: str | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By their number alone; a result's bits depend on it, and `machine` says which it was."""
    before = torch.get_num_threads()
    monkeypatch.setattr("src.share.cores", lambda: cores)
    monkeypatch.setenv("JOBS", jobs)
    if threads:
        monkeypatch.setenv("THREADS", threads)
    runtime.set_threads()
    try:
        assert runtime.machine(CPU, "fp32")["threads"] == expected
    finally:
        torch.set_num_threads(before)


def test_which_gpu_it_was_enters_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    second = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    first = torch.device("cuda", 0)
    assert runtime.describe(first, "bf16") == "NVIDIA H100, bf16"
    assert runtime.describe(second, "bf16") == "NVIDIA H100 (cuda:1), bf16"
    assert runtime.machine(first, "fp32") == runtime.machine(second, "fp32")
    assert runtime.surroundings(first) == runtime.surroundings(second)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", True), ("TORCH_BLAS_PREFER_CUBLASLT", True),
        ("TORCH_CUBLASLT_UNIFIED_WORKSPACE", True), ("TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT", True),
        ("TORCH_MKLDNN_MATMUL_MIN_DIM", True), ("DISABLE_ADDMM_CUDA_LT", True),
        ("PYTORCH_TUNABLEOP_ENABLED", True), ("MKL_CBWR", True), ("ONEDNN_VERBOSE", False),
        ("MKL_NUM_THREADS", False), ("TORCH_HOME", False), ("TORCH_CUDNN_V8_API_DEBUG", False),
        ("TORCH_LINEAR_FLATTEN_3D", True), ("PYTORCH_MIOPEN_SUGGEST_NHWC", True),
        ("PYTORCH_TUNABLEOP_VERBOSE_FILENAME", False),
    ],
)  # fmt: skip
def test_switches_that_choose_kernels_are_noted(
    name: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state made with others is not used: its bits may be other ones."""
    monkeypatch.setenv(name, "7")
    switches = runtime.surroundings(CPU)["switches"]
    assert isinstance(switches, dict)
    assert (switches.get(name) == "7") is counts


def test_libraries_that_augmentation_computes_with_are_noted() -> None:
    """All that Albumentations and its core need, but for those that read and check values."""
    asked = [*(requires("albumentations") or []), *(requires("albucore") or [])]
    needed = {re.split(r"[<>=;! ]", each)[0] for each in asked if "extra ==" not in each}
    needed -= {"PyYAML", "pydantic", "typing-extensions", "eval-type-backport"}
    assert needed >= {"numpy", "albucore", "simsimd"}
    about = runtime.surroundings(CPU)
    assert {name: about.get(name) for name in needed} == {name: version(name) for name in needed}


def test_starting_a_stage_does_not_load_torch_compile() -> None:
    """Its modules take about as long as torch itself; only torch's optimizers need them."""
    code = (
        "import sys; from src.device import start; start('fp32', True);"
        "assert 'torch._dynamo' not in sys.modules"
    )
    run(ROOT, sys.executable, "-c", code, DEVICE="cpu")


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


MPS = "MPS backend out of memory (MPS allocated: 8 GB, max allowed: 9 GB)."
CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("work", "memory", "mend"),
    [
        # More than the address space has: the real words of torch and NumPy.
        (lambda: torch.empty(2**60, dtype=torch.uint8), "this machine's memory", "with more"),
        (lambda: np.empty(2**60, np.uint8), "this machine's memory", "a machine with more"),
        (lambda: raise_(MemoryError()), "this machine's memory", "a machine with more"),
        (lambda: raise_(torch.OutOfMemoryError("CUDA out of memory.")), "the device's", "E=cpu"),
        (lambda: raise_(RuntimeError(MPS)), "the device's memory", "set DEVICE=cpu"),
        (lambda: raise_(RuntimeError(CUBLAS)), "the device's memory", "set DEVICE=cpu"),
        (lambda: raise_(RuntimeError("CUDA error: out of memory")), "the device's", "E=cpu"),
    ],
)
def test_too_little_memory_is_told_with_its_mend(
    work: Callable[[], object], memory: str, mend: str
) -> None:
    with pytest.raises(InputError) as raised, runtime.memory_for("a sum of 7 images"):
        work()
    text = str(raised.value)
    assert text.startswith(f"a sum of 7 images does not fit {memory}")
    assert text.endswith(mend)
    assert raised.value.__cause__ is not None
    with pytest.raises(InputError, match=r"; lower it$"), runtime.memory_for("a", "lower it"):
        work()


@pytest.mark.parametrize("error", [RuntimeError("shape '[2]' is invalid"), NotImplementedError()])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, runtime.memory_for("a sum of 7 images"):
        raise error
    assert raised.value is error


def test_a_network_too_large_for_the_device_is_told(tmp_path: Path) -> None:
    class Large(torch.nn.Module):
        def to(self, *_: object, **__: object) -> "Large":
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(InputError, match="the network does not fit the device's memory"):
        train(tmp_path, params(), model=Large())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(("hardware", "noted"), [(True, False), (False, True)])
def test_half_precision_in_software_is_remarked_on(
    precision: str,
    hardware: bool,
    noted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setattr(runtime, "cpu_computes", lambda asked: hardware and asked == precision)
    # These functions set things for the whole process; other tests cover them.
    monkeypatch.setattr(runtime, "set_deterministic", lambda _: None)
    monkeypatch.setattr(runtime, "keep_freed_memory", lambda: None)
    assert runtime.start(precision, deterministic=True) == (CPU, precision)
    assert (f"computes {precision} in software" in capsys.readouterr().out) is noted


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
