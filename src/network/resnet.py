"""ResNet for 32×32 images on torchvision's blocks (He et al. 2015, arXiv 1512.03385).

It has a 3×3 stem without max-pooling, then torchvision's four stages: 11,173,962 parameters for
resnet18 and ten classes. Mean pooling at the end lets it take images of any resolution.
"""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from src.network.conv import use_products

ARCHITECTURES = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}


def build_model(arch: str, num_classes: int, seed: int = 0) -> ResNet:
    """Build the untrained network, (B, 3, H, W) to (B, num_classes) logits, initialised by seed."""
    block, depths = ARCHITECTURES[arch]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResNet(block, depths, num_classes=num_classes)
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    use_products(model)
    return model
