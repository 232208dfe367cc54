"""The networks by name: `model.arch` in params.yaml takes any of them.

resnet18 has 11,173,962 parameters for ten classes. Mean pooling at the end lets the ResNets take
images of any resolution.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from src.data.records import SIDE
from src.network.blocks import BasicBlock, Bottleneck, ResNet
from src.network.conv import use_products
from src.pipeline.errors import InputError

# A network is a function of the number of classes that returns a module from (B, 3, H, W) images to
# (B, classes) logits, with weights drawn from torch's generator. To add one, name it here.
ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": partial(ResNet, BasicBlock, [2, 2, 2, 2]),
    "resnet34": partial(ResNet, BasicBlock, [3, 4, 6, 3]),
    "resnet50": partial(ResNet, Bottleneck, [3, 4, 6, 3]),
}


# Named as torch's, because plots/model.txt lists layers by the names of their classes.
class Linear(nn.Linear):
    """(B, C) features to (B, num_classes) logits, in fp32 also under autocast.

    Logits rounded to bf16 have 8 bits: two classes tie, and the lower index wins.
    """

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def build_model(arch: str, num_classes: int, seed: int = 0) -> nn.Module:
    """Build the untrained network, (B, 3, H, W) to (B, num_classes) logits, initialised by seed.

    Its last linear layer computes in fp32. Raises InputError for a name without a network, and for
    a network that returns something else.
    """
    if arch not in ARCHITECTURES:
        raise InputError(
            f"model.arch: {arch!r} is not one of {', '.join(ARCHITECTURES)} (params.yaml)"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ARCHITECTURES[arch](num_classes)
        if any(isinstance(module, LazyModuleMixin) for module in model.modules()):
            # They draw their weights when they see the first images.
            with tried(model):
                model(two_images())
    linear = [module for module in model.modules() if type(module) is nn.Linear]
    for last in linear[-1:]:
        last.__class__ = Linear
    use_products(model)
    check_logits(model, arch, num_classes)
    return model


def two_images() -> Tensor:
    """Of one image batch norm has no variance where a map has one pixel."""
    return torch.zeros(2, 3, SIDE, SIDE)


@contextmanager
def tried(model: nn.Module) -> Iterator[None]:
    """Let a network be tried in evaluation mode, without gradients."""
    was_training, mode = model.training, torch.get_deterministic_debug_mode()
    # What has no deterministic form the first step tells in a sentence.
    torch.set_deterministic_debug_mode("default")
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
        torch.set_deterministic_debug_mode(mode)


def check_logits(model: nn.Module, arch: str, num_classes: int) -> None:
    """InputError unless the network gives each image one logit for each class."""
    with tried(model), torch.random.fork_rng(devices=[]):
        given = [model(two_images())]
        # In training it may return more; of a copy, because batch norm learns from what it sees.
        copy = deepcopy(model)
        copy.train()
        given.append(copy(two_images()))
    for logits, when in zip(given, ("", " in training"), strict=True):
        if not isinstance(logits, Tensor):
            raise InputError(
                f"model.arch: {arch} gives images a {type(logits).__name__}{when}, not a tensor "
                "of logits; let it return the logits alone (src/network/resnet.py)"
            )
        if logits.shape != (2, num_classes):
            raise InputError(
                f"model.arch: {arch} gives two images {tuple(logits.shape)} numbers{when}, not "
                f"(2, {num_classes}); let it take the number of classes (src/network/resnet.py)"
            )
