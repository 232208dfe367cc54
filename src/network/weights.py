"""The weights file: what training ships is what evaluation reads."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.data.checks import classes_fault, statistics_fault
from src.data.normalize import CHANNELS, Normalize
from src.data.tensors import load_tensors, save_tensors
from src.device import DTYPES, NOT_DETERMINISTIC, memory_for, start
from src.network.resnet import ARCHITECTURES, build_model
from src.pipeline.errors import InputError, remake

MEND = remake("train")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Trained:
    """A trained network, ready on its device. normalize: from uint8 images to its input."""

    model: nn.Module
    normalize: Normalize
    precision: str


def load_trained(path: Path, num_classes: int, mean: list[float], std: list[float]) -> Trained:
    """The network of a weights file on this machine, in the precision that `ready` says.

    mean, std: of the channels that it was trained on. Raises InputError as `load_model` does.
    """
    return ready(*load_model(path, num_classes), mean, std)


def load_alone(path: Path, mend: str) -> tuple[Trained, list[str]]:
    """The network of a weights file and its class names, without the data that it was trained on.

    Raises InputError, whose sentence ends with `mend`, where the file is damaged or does not name
    its classes and channel statistics.
    """
    tensors, about = load_tensors(path, mend)
    classes, mean, std = (about.get(key) for key in ("classes", "mean", "std"))
    if not (classes and mean and std):
        raise InputError(f"{path}: does not name its classes, so an older version wrote it; {mend}")
    # A right digest says that the file is whole, and not that this code wrote it.
    if fault := list_fault(classes) or classes_fault(classes) or channels_fault(mean, std):
        raise InputError(f"{path}: {fault}; {mend}")
    model = fill(path, tensors, about, len(classes), mend)
    return ready(model, about, mean, std), classes


def list_fault(classes: Any) -> str:
    return "" if isinstance(classes, list) else "its classes are no list"


def channels_fault(mean: Any, std: Any) -> str:
    """What is wrong with the channels' statistics, or nothing."""
    try:
        return statistics_fault(
            {
                f"{kind}_{channel}": value
                for kind, values in (("mean", mean), ("std", std))
                for channel, value in zip(CHANNELS, values, strict=True)
            }
        )
    except (TypeError, ValueError):
        return "its channel statistics are not three numbers each"


def ready(model: nn.Module, about: dict[str, Any], mean: list[float], std: list[float]) -> Trained:
    """A model on this machine's device, in the precision of its training.

    In fp32 where this CPU has that in software, many times slower: the network may come from
    elsewhere, as the published one does. What has no deterministic form is computed all the same:
    it may be a layer of a network that was trained with train.deterministic: false.
    """
    device, resolved = start(about["precision"], deterministic=True, or_fp32=True)
    torch.set_deterministic_debug_mode("warn")
    warnings.filterwarnings("ignore", f".*{NOT_DETERMINISTIC}")
    with memory_for("the network"):
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Trained(model, Normalize(mean, std, device), resolved)


def save_weights(path: Path, model: nn.Module, metadata: dict[str, Any]) -> None:
    """The state for shipping: half precision, batch norm in fp32; 22 MB for resnet18.

    metadata: arch and precision; for `load_alone` also classes, mean and std.
    """
    norm = {
        f"{name}.{key}"
        for name, module in model.named_modules()
        if isinstance(module, NORMS)
        for key in module.state_dict()
    }
    state = model.state_dict()
    # Whole numbers, say an index into a table, would not survive half precision.
    tensors = {
        name: t if name in norm or not t.is_floating_point() else t.half()
        for name, t in state.items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"{path}: the weights do not fit half precision; lower train.lr")
    save_tensors(path, tensors, metadata)


def load_model(path: Path, num_classes: int) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network in fp32 and eval mode, and the file's metadata.

    Raises InputError where the file is damaged or is not for `num_classes` classes.
    """
    tensors, metadata = load_tensors(path, MEND)
    return fill(path, tensors, metadata, num_classes, MEND), metadata


def fill(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any], num_classes: int, mend: str
) -> nn.Module:
    """The network that the metadata name, in fp32 and eval mode, with these tensors as weights."""
    # As a list, because what stands there need not be a text.
    if metadata.get("arch") not in [*ARCHITECTURES]:
        raise InputError(f"{path}: is of an unknown architecture; {mend}")
    if metadata.get("precision") not in [*DTYPES]:
        raise InputError(f"{path}: is of an unknown precision; {mend}")
    model = build_model(metadata["arch"], num_classes)
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{path}: does not fit {metadata['arch']} with {num_classes} classes "
                f"({name} is {found.get(name)}, not {wanted.get(name)}); {mend}"
            )
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"{path}: has weights that are not finite; {mend}")
    model.load_state_dict(tensors)
    model.eval()
    return model
