"""Named tensors on disk, in safetensors files that appear whole and hold their own digest.

There is no pickle, so no file can run code. One key holds all metadata as sorted JSON, because
several keys come out in random order. The digest turns a flipped bit into an error.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from src.pipeline.errors import InputError
from src.pipeline.files import read_bytes, write_bytes

HEADER_LENGTH_BYTES = 8


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """sha256 over the metadata and every tensor's name, type, shape and bytes."""
    total = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors with metadata that JSON can hold; the same input gives the same bytes."""
    # A copy, because tied weights have two names, and safetensors refuses memory that is shared;
    # contiguous, so that channels_last weights are stored in their logical order.
    plain = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    about = {**metadata, "sha256": digest(plain, metadata)}
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    write_bytes(path, save(plain, {"cifar-resnet": text}))


def load_tensors(path: Path, mend: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors, onto the CPU, and their metadata; InputError with `mend` for any damage."""
    return parse_tensors(read_bytes(path, mend), str(path), mend)


def parse_tensors(content: bytes, name: str, mend: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata from a file's bytes; InputError naming `name` for any damage."""
    try:
        tensors = load(content)
        header_length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
        header = json.loads(content[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + header_length])
        metadata = json.loads(header["__metadata__"]["cifar-resnet"])
        expected = metadata.pop("sha256")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name}: is damaged or not a file of this project; {mend}") from error
    if digest(tensors, metadata) != expected:
        raise InputError(f"{name}: is damaged (its content does not match its digest); {mend}")
    return tensors, metadata
