"""The networks by name: `model.arch` in params.yaml takes any of them.

resnet18 has 11,173,962 parameters for ten classes. Mean pooling at the end lets the ResNets take
images of any resolution.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

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
    linear = [module for module in model.modules() if type(module) is nn.Linear]
    for last in linear[-1:]:
        last.__class__ = Linear
    use_products(model)
    check_logits(model, arch, num_classes)
    return model


def check_logits(model: nn.Module, arch: str, num_classes: int) -> None:
    """InputError unless the network gives one image one logit for each class."""
    was_training = model.training
    with torch.no_grad():
        logits = model.eval()(torch.zeros(1, 3, SIDE, SIDE))
    model.train(was_training)
    if not isinstance(logits, Tensor):
        raise InputError(
            f"model.arch: {arch} gives one image a {type(logits).__name__}, not a tensor of "
            "logits; let it return the logits alone (src/network/resnet.py)"
        )
    if logits.shape != (1, num_classes):
        raise InputError(
            f"model.arch: {arch} gives one image {tuple(logits.shape)} numbers, not "
            f"(1, {num_classes}); let it take the number of classes (src/network/resnet.py)"
        )
