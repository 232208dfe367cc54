"""The table of a network's layers: output shapes, parameters, memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src.data.records import SIDE
from src.network.blocks import BasicBlock, Bottleneck

MEGABYTE = 2**20


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def own_parameters(module: nn.Module) -> int:
    """How many parameters a module has beside those of the modules in it."""
    return sum(parameter.numel() for parameter in module.parameters(recurse=False))


def summary_rows(model: nn.Module) -> list[tuple[str, tuple[int, ...], int]]:
    """(layer, output shape, parameters) for each layer and residual block, in calling order.

    A layer is a module with parameters of its own; those of a block are in the layers it holds.
    """
    rows: list[tuple[str, tuple[int, ...], int]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        # Attention, for one, returns its weights too.
        first = next(tensors_of(output), torch.empty(0))
        shape = tuple(first.shape[1:])
        rows.append((f"{type(module).__name__}-{len(rows) + 1}", shape, own_parameters(module)))

    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if own_parameters(module) or isinstance(module, BasicBlock | Bottleneck)
    ]
    was_training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(1, 3, SIDE, SIDE))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return rows


def tensors_of(output: Any) -> Iterator[Tensor]:
    """The tensors in what a layer returns, at any depth."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors_of([*output.values()])
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for each in output:
            yield from tensors_of(each)


def summary(model: nn.Module) -> str:
    """The table of layers with totals and the memory that one image takes, in MB."""
    rows = summary_rows(model)
    outputs = sum(torch.Size(shape).numel() for _, shape, _ in rows)
    parameters = count_parameters(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # fp32 takes four bytes a number; training keeps each output once and its gradient once.
    sizes = [3 * SIDE * SIDE * 4 / MEGABYTE, outputs * 8 / MEGABYTE, parameters * 4 / MEGABYTE]
    line = "-" * 64
    body = [f"{name:<20}{'×'.join(map(str, shape)):>24}{n:>20,}" for name, shape, n in rows]
    return "\n".join(
        [
            f"{'Layer':<20}{'Output shape':>24}{'Parameters':>20}",
            line,
            *body,
            line,
            f"Total parameters: {parameters:,}",
            f"Trainable parameters: {trainable:,}",
            line,
            f"Input size (MB): {sizes[0]:.2f}",
            f"Forward/backward pass size (MB): {sizes[1]:.2f}",
            f"Parameters size (MB): {sizes[2]:.2f}",
            f"Estimated total size (MB): {sum(sizes):.2f}",
            "",
        ]
    )
