"""A training step as a CUDA graph: recorded once, then replayed by one call.

A GPU finishes the small kernels of a step faster than the host can launch them one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from src.pipeline.errors import InputError
from src.training.optimizer import set_rate

Work = Callable[[Tensor, Tensor, int], None]
WITHOUT = "set train.precision to fp16, which trains without a graph (params.yaml)"


class RecordedStep:
    """Replays `work(images, labels, side)` from a CUDA graph; each side has its own graph.

    altered: gives every tensor that a step changes and that outlives it. All batches have one
    shape.
    """

    def __init__(
        self, work: Work, optimizer: Optimizer, altered: Callable[[], list[Tensor]]
    ) -> None:
        self.work, self.optimizer, self.altered = work, optimizer, altered
        self.lr = torch.zeros((), device=altered()[0].device)
        self.batch: tuple[Tensor, Tensor] | None = None
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def __call__(self, images: Tensor, labels: Tensor, side: int) -> None:
        if self.batch is None:
            self.batch = images.to(self.lr.device), labels.to(self.lr.device)
        # A graph reads the tensors that it was recorded with, so batch and rate are copied there.
        for place, given in zip(self.batch, (images, labels), strict=True):
            place.copy_(given, non_blocking=True)
        self.lr.fill_(self.optimizer.param_groups[0]["lr"])
        if side not in self.graphs:
            self.graphs[side] = self.record(*self.batch, side)
        self.graphs[side].replay()

    def record(self, images: Tensor, labels: Tensor, side: int) -> torch.cuda.CUDAGraph:
        """Record the graph of a step; the altered tensors and generators keep their state.

        Raises InputError for a network whose step no graph can repeat.
        """
        altered = self.altered()
        before = [tensor.clone() for tensor in altered]
        graph = torch.cuda.CUDAGraph()
        # A network that draws would draw other numbers in the replay that follows.
        with rate_on_device(self.optimizer, self.lr), torch.random.fork_rng([self.lr.device]):
            # On first use libraries choose kernels and allocate memory, which no graph can record.
            with own_stream():
                self.work(images, labels, side)
            check_in_place(altered, self.altered())
            for tensor, saved in zip(altered, before, strict=True):
                tensor.copy_(saved)
            # thread_local, because the loader's thread pins memory during the recording.
            with (
                faults_of_recording(),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                self.work(images, labels, side)
        return graph


def check_in_place(before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    """InputError where a step has put a tensor in another's place: replays would read the old."""
    if [tensor.data_ptr() for tensor in before] != [tensor.data_ptr() for tensor in after]:
        raise InputError(
            "model.arch: the network assigns a buffer anew in its forward pass, which a CUDA graph "
            f"cannot repeat; change it in place (`self.name.copy_(…)`), or {WITHOUT}"
        )


@contextmanager
def faults_of_recording() -> Iterator[None]:
    """InputError where the host waits for the device within a step."""
    try:
        yield
    except RuntimeError as error:
        # A generator of the network's own has another cause and words of its own.
        if "captur" not in str(error) or "generator" in str(error):
            raise
        raise InputError(
            "model.arch: the network waits for the GPU in its forward pass (it reads a value back, "
            "as by `.item()` or `if`, or in batch norm with a momentum of None, or sends one by "
            "`torch.tensor(…, device=…)`), which a CUDA graph cannot record; compute it on the "
            f"device, or {WITHOUT}"
        ) from error


@contextmanager
def own_stream() -> Iterator[None]:
    """Use a stream that waits for all earlier work, and that all later work waits for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def rate_on_device(optimizer: Optimizer, lr: Tensor) -> Iterator[None]:
    """Let the optimizer read its rate from a tensor: a graph would repeat a recorded number."""
    number = optimizer.param_groups[0]["lr"]
    set_rate(optimizer, lr)
    try:
        yield
    finally:
        set_rate(optimizer, number)
