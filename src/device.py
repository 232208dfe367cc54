"""How the machine computes: precision, threads, memory, determinism; and what it is."""

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from src.pipeline.errors import InputError
from src.share import jobs, own_cores, pick_device, whole_number

# mallopt parameters in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LIBRARIES = (
    "albumentations", "albucore", "numpy", "opencv-python-headless", "scipy", "simsimd",
    "stringzilla",
)  # fmt: skip
# Environment variables that choose kernels, and with them the last bits: how their names begin.
SWITCHES = (
    "ATEN_CPU_CAPABILITY", "CUBLAS", "CUDNN", "DISABLE_ADDMM_CUDA_LT", "DNNL", "MKL", "NVIDIA_TF32",
    "ONEDNN", "PYTORCH_MIOPEN", "PYTORCH_TUNABLEOP", "TORCH_ALLOW_TF32", "TORCH_BLAS_PREFER",
    "TORCH_CUBLASLT", "TORCH_CUDNN", "TORCH_LINEAR_FLATTEN", "TORCH_MKLDNN",
)  # fmt: skip
# What torch says of an operation that may add in another order each time.
NOT_DETERMINISTIC = "does not have a deterministic implementation"
# These alter no bits: they only print, and machine() notes the number of threads.
WITHOUT_EFFECT = ("_DEBUG", "_VERBOSE", "_VERBOSE_FILENAME", "_NUM_THREADS")
# What an x86 CPU that computes in this type says of itself.
IN_HARDWARE = {"bf16": ("avx512_bf16", "amx_bf16"), "fp16": ("avx512_fp16", "amx_fp16")}
# What torch says when memory runs out: on CUDA and mps, on the CPU (two), in CUDA's libraries.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "_ALLOC_FAILED")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def set_threads() -> None:
    """torch's threads on the CPU: THREADS, else this job's share of the cores, else torch's own."""
    threads = whole_number("THREADS") or (own_cores() if jobs() else None)
    if threads:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let glibc keep the memory that large tensors free: new memory is cleared first, and slow."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        # -1: never. The largest int would still be two gigabytes.
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def cpu_capabilities() -> dict[str, Any]:
    """What torch knows of the CPU; nothing where it lacks the function."""
    found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return dict(found)


def cpu_computes(precision: str) -> bool:
    """Whether an x86 CPU multiplies bf16 or fp16 in hardware."""
    found = cpu_capabilities()
    return any(found.get(name, False) for name in IN_HARDWARE[precision])


def in_software(precision: str, device: torch.device) -> bool:
    """Whether a CPU computes a precision many times slower than fp32, as its hardware lacks it."""
    return device.type == "cpu" and precision in IN_HARDWARE and not cpu_computes(precision)


def resolve_precision(precision: str, device: torch.device) -> str:
    """fp32, bf16 or fp16: `auto` is half precision where x86 or CUDA hardware has it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_computes("bf16") else "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32")


@contextmanager
def memory_for(work: str, mend: str | None = None) -> Iterator[None]:
    """InputError where the memory is too small for some work.

    work: what is done, with how many images; mend: what helps, where it is not a free device.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        of_host = isinstance(error, MemoryError) or "CPUAllocator" in str(error)
        if not of_host and not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        memory = "this machine's memory" if of_host else "the device's memory"
        usual = "use a machine with more" if of_host else "set DEVICE=cpu"
        raise InputError(
            f"{work} does not fit {memory}; {mend or f'end other programs that use it, or {usual}'}"
        ) from error


def set_deterministic(deterministic: bool) -> None:
    """The same bits on every run of this machine, or the fastest kernels."""
    if deterministic:
        # cuBLAS reads it when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms does, which also imports torch.compile's modules: seconds.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    # Filling new memory would cost bandwidth, and it only shows code that reads unwritten memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic


def start(precision: str, deterministic: bool, or_fp32: bool = False) -> tuple[torch.device, str]:
    """Set the machine up for a stage; returns the device and the resolved precision.

    or_fp32: compute in fp32 where this CPU has the precision in software.
    """
    set_threads()
    set_deterministic(deterministic)
    device = pick_device()
    resolved = resolve_precision(precision, device)
    if device.type == "cpu":
        keep_freed_memory()
    if in_software(resolved, device):
        mend = (
            "so this computes in fp32"
            if or_fp32
            else "train with train.precision: auto, which takes what the hardware has (params.yaml)"
        )
        print(
            f"note: this CPU computes {resolved} in software, many times slower than fp32; {mend}"
        )
        resolved = "fp32" if or_fp32 else resolved
    print(f"{describe(device, resolved)}, torch {torch.__version__}", flush=True)
    return device, resolved


def machine(device: torch.device, precision: str) -> dict[str, str | int]:
    """What a result's last bits depend on beside its inputs."""
    about: dict[str, str | int] = {
        "torch": torch.__version__,
        "device": device.type,
        "precision": precision,
    }
    # On a GPU the sums do not depend on the host's threads.
    return about | ({"threads": torch.get_num_threads()} if device.type == "cpu" else {})


def surroundings(device: torch.device) -> dict[str, str | dict[str, Any]]:
    """What else the last bits may depend on: Python, libraries, hardware, kernel switches."""
    switches = {k: v for k, v in sorted(os.environ.items()) if k.startswith(SWITCHES)}
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        **hardware(device),
        "switches": {k: v for k, v in switches.items() if not k.endswith(WITHOUT_EFFECT)},
    }


def hardware(device: torch.device) -> dict[str, str | dict[str, Any]]:
    """The device by name; a CPU also by what torch's kernels can see of it."""
    if device.type == "cuda":
        return {"hardware": torch.cuda.get_device_name(device)}
    return {"hardware": cpu_name(), "capabilities": cpu_capabilities()}


def cpu_name() -> str:
    """The processor's name, and where Linux says so its family and model.

    A Zen 4 and a Zen 5 can have one name and one list of instruction sets.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in said:
        return platform.processor() or platform.machine()
    return f"{said['model name']} (family {said.get('cpu family')}, model {said.get('model')})"


def describe(device: torch.device, precision: str) -> str:
    name = device.type
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device) + (f" ({device})" if device.index else "")
    count = torch.get_num_threads()
    threads = f", {count} thread{'' if count == 1 else 's'}" if device.type == "cpu" else ""
    return f"{name}{threads}, {precision}"
