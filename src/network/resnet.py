"""The networks by name; resnet18 has 11,173,962 parameters for ten classes.

Mean pooling at the end lets them take images of any resolution.
"""

import torch
from torch import Tensor, nn

from src.network.blocks import BasicBlock, Bottleneck, ResNet
from src.network.conv import use_products

ARCHITECTURES: dict[str, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}


# Named as torch's, because plots/model.txt lists layers by the names of their classes.
class Linear(nn.Linear):
    """(B, C) features to (B, num_classes) logits, in fp32 also under autocast.

    Logits rounded to bf16 have 8 bits: two classes tie, and the lower index wins.
    """

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def build_model(arch: str, num_classes: int, seed: int = 0) -> ResNet:
    """Build the untrained network, (B, 3, H, W) to (B, num_classes) logits, initialised by seed."""
    block, depths = ARCHITECTURES[arch]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResNet(block, depths, num_classes)
    model.fc.__class__ = Linear
    use_products(model)
    return model
