"""ResNet for 32×32 images on torchvision's blocks (He et al. 2015, arXiv 1512.03385).

A 3×3 stem without max-pooling, then torchvision's four stages; 11,173,962 parameters for
resnet18 and ten classes. Mean pooling at the end makes it free of the resolution.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from src.data.tensors import load_tensors, save_tensors
from src.network.conv import use_products
from src.pipeline.errors import InputError

ARCHITECTURES = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}
MEND = "run `dvc repro -f -s train` to make it anew"
MEGABYTE = 2**20


def build_model(arch: str, num_classes: int, seed: int = 0) -> ResNet:
    """The untrained network, (B, 3, H, W) to (B, num_classes) logits, initialised from `seed`."""
    block, depths = ARCHITECTURES[arch]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResNet(block, depths, num_classes=num_classes)
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    use_products(model)
    return model


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def summary_rows(model: nn.Module) -> list[tuple[str, tuple[int, ...], int]]:
    """(layer, output shape, parameters) for each layer and residual block, in calling order."""
    rows: list[tuple[str, tuple[int, ...], int]] = []
    listed = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, BasicBlock, Bottleneck)

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        # A block's parameters are counted in the layers that it holds.
        own = 0 if next(module.children(), None) else count_parameters(module)
        rows.append((f"{type(module).__name__}-{len(rows) + 1}", tuple(output.shape[1:]), own))

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, listed)]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, 32, 32))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return rows


def summary(model: nn.Module) -> str:
    """The table of layers with totals and the memory that one 32×32 image takes, in MB."""
    rows = summary_rows(model)
    outputs = sum(torch.Size(shape).numel() for _, shape, _ in rows)
    parameters = sum(count for *_, count in rows)
    # fp32: four bytes a number; each output is kept once and its gradient once.
    sizes = [3 * 32 * 32 * 4 / MEGABYTE, outputs * 8 / MEGABYTE, parameters * 4 / MEGABYTE]
    line = "-" * 64
    body = [f"{name:<20}{'×'.join(map(str, shape)):>24}{n:>20,}" for name, shape, n in rows]
    return "\n".join(
        [
            f"{'Layer':<20}{'Output shape':>24}{'Parameters':>20}",
            line,
            *body,
            line,
            f"Total parameters: {parameters:,}",
            f"Trainable parameters: {parameters:,}",
            line,
            f"Input size (MB): {sizes[0]:.2f}",
            f"Forward/backward pass size (MB): {sizes[1]:.2f}",
            f"Parameters size (MB): {sizes[2]:.2f}",
            f"Estimated total size (MB): {sum(sizes):.2f}",
            "",
        ]
    )


def save_weights(path: Path, model: nn.Module, metadata: dict[str, Any]) -> None:
    """The state for shipping: half precision, batch norm in fp32; 22 MB for resnet18."""
    norm = {
        f"{name}.{key}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for key in module.state_dict()
    }
    state = model.state_dict()
    tensors = {name: t if name in norm else t.half() for name, t in state.items()}
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"{path}: the weights do not fit half precision; lower train.lr")
    save_tensors(path, tensors, metadata)


def load_model(path: Path, num_classes: int) -> tuple[ResNet, dict[str, Any]]:
    """The trained network in fp32 and eval mode, and the file's metadata.

    Raises InputError where the file is damaged or is not for `num_classes` classes.
    """
    tensors, metadata = load_tensors(path, MEND)
    if metadata.get("arch") not in ARCHITECTURES:
        raise InputError(f"{path}: is of an unknown architecture; {MEND}")
    model = build_model(metadata["arch"], num_classes)
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{path}: does not fit {metadata['arch']} with {num_classes} classes "
                f"({name} is {found.get(name)}, not {wanted.get(name)}); {MEND}"
            )
    model.load_state_dict(tensors)
    return model.eval(), metadata
