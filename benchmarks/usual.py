"""The usual public script's loop: PIL transforms, two workers, fp32, NCHW, `.item()` each step."""

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from src.data.records import Split

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class PilImages(Dataset[tuple[Tensor, int]]):
    """PIL images that are cropped, mirrored and normalised one by one."""

    def __init__(self, split: Split) -> None:
        self.images = [Image.fromarray(image) for image in split.images]
        self.labels = split.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def usual_steps(
    model: nn.Module, split: Split, batch_size: int, device: torch.device
) -> Iterator[float]:
    """Train for ever, and yield the loss after each step."""
    model.to(device).train()
    loader = DataLoader(PilImages(split), batch_size, shuffle=True, num_workers=2, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    while True:
        for images, labels_cpu in loader:
            inputs, labels = images.to(device), labels_cpu.to(device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            yield loss.item()


def best_public_steps(
    model: nn.Module, split: Split, batch_size: int, device: torch.device
) -> Iterator[float]:
    """The best public loop for a GPU: eager, half precision, channels_last, all data on it.

    The device mirrors each image at random and shifts each batch at random.
    """
    torch.backends.cudnn.benchmark = True
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    mean, std = (torch.tensor(x, device=device).view(1, 3, 1, 1) for x in (MEAN, STD))
    everything = torch.from_numpy(split.images).to(device).permute(0, 3, 1, 2).float() / 255
    everything = ((everything - mean) / std).to(memory_format=torch.channels_last).half()
    padded = nn.functional.pad(everything, (2, 2, 2, 2), "reflect")
    labels = torch.from_numpy(split.labels).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler(device.type)
    while True:
        order = torch.randperm(len(labels), device=device)
        for rows in order.split(batch_size)[: max(1, len(labels) // batch_size)]:
            dy, dx = torch.randint(0, 5, (2,)).tolist()
            images = padded[rows, :, dy : dy + 32, dx : dx + 32]
            flip = torch.rand(len(rows), 1, 1, 1, device=device) < 0.5
            inputs = torch.where(flip, images.flip(3), images)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.float16):
                loss = nn.functional.cross_entropy(model(inputs), labels[rows])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            yield 0.0
