"""Where the time of a training step goes: a profile of its kernels, for benchmarks/gpu.py."""

import os
import re
from collections.abc import Iterable
from functools import partial

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_answers import Values
from benchmarks.gpu_steps import (
    GRAPH,
    LAUNCHED,
    Kind,
    Measures,
    Size,
    bare_steps,
    step_run,
    without_graph,
)
from benchmarks.setting import rate, waiting
from src.share import pick_device

Kernel = tuple[str, float, float]  # name, ms a step, calls a step

KERNELS = 40  # so many of the longest are kept by name
# The first whose pattern is in a kernel's name is its group; on a CPU, in an operator's name.
GROUPS = (
    # The norm of the gradients, which tells a step that is not finite, is part of the update.
    ("optimizer", r"sgd|multi_tensor|lpnorm|vector_norm|foreach"),
    ("batch norm", r"batch_?norm|bn_fw|bn_bw|bnorm"),
    ("copies", r"copy_kernel|memcpy|memset|nchwto|nhwcto|catarray|::(copy_|clone|cat|fill_)"),
    ("convolutions", r"conv|gemm|xmma|cutlass|[dw]grad|fprop|nvjet|cudnn|::(mm|addmm)"),
    ("elementwise", r"elementwise|threshold|relu|::(add|mul|sub|div|where)"),
)


def step_profile(kind: Kind, batch: int, size: Size) -> Values:
    """Where the time of a step goes: ms of each group of kernels, and what no kernel fills."""
    device = pick_device()
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    # Else a second profile of CUDA graphs in one process may crash (torch/profiler says so).
    os.environ["TEARDOWN_CUPTI"] = "0"
    # The profiler is there before the graph is recorded: it may not name the kernels of an older.
    with profile(activities=[activity], acc_events=True):
        torch.zeros(1, device=device)
    run = step_run(kind, batch, size)
    wait, steps = waiting(run.settings.device), bare_steps(run)
    rate(steps, size.steps // 10 + 1, batch, wait)
    step_ms = batch / rate(steps, size.steps, batch, wait) * 1e3
    count = size.steps // 10 + 1
    with profile(activities=[activity], acc_events=True) as profiler:
        profiled_ms = batch / rate(steps, count, batch, wait) * 1e3
    kernels = sorted(kernels_of(profiler, count, device), key=lambda kernel: -kernel[1])
    busy = sum(ms for _, ms, _ in kernels)
    values = {"step_ms": step_ms, "gaps_ms": step_ms - busy, **grouped(kernels)}
    values["profiled_step_ms"] = profiled_ms  # the profiler may slow the launching of kernels
    return {**values, "kernels": kernels[:KERNELS], **without_graph(kind, run)}


def kernels_of(profiler: profile, steps: int, device: torch.device) -> list[Kernel]:
    """What the device did in a step."""
    events = list(profiler.key_averages())
    if device.type != "cuda":
        return [(e.key, e.self_cpu_time_total / steps / 1e3, e.count / steps) for e in events]
    # What torch's own code marks, an optimizer's step for example, spans kernels and is none.
    on_device = [event for event in events if event.device_type == DeviceType.CUDA]
    kernels = [event for event in on_device if not event.is_user_annotation]
    return [(e.key, e.self_device_time_total / steps / 1e3, e.count / steps) for e in kernels]


def group_of(name: str) -> str:
    found = (group for group, pattern in GROUPS if re.search(pattern, name, re.IGNORECASE))
    return next(found, "other")


def grouped(kernels: Iterable[Kernel]) -> dict[str, float]:
    """The ms a step of each group."""
    sums = {f"{group}_ms": 0.0 for group, _ in (*GROUPS, ("other", ""))}
    for name, ms, _ in kernels:
        sums[f"{group_of(name)}_ms"] += ms
    return sums


def step_profiles(size: Size) -> Measures:
    kinds = [("launched", LAUNCHED), ("graph", GRAPH)]
    return [
        (f"{name}, batch {batch}", partial(step_profile, kind, batch, size))
        for batch in size.batches[:2] for name, kind in kinds
    ]  # fmt: skip
