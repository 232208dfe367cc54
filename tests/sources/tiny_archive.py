"""A tiny archive of CIFAR-10's layout."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from src.data.records import RECORD_BYTES, content_digest
from src.pipeline.errors import InputError
from src.sources.cifar import CIFAR10

RECORDS = 4  # in each batch
TRAIN_BATCHES, (TEST_BATCH,), CLASS_NAMES = list(CIFAR10.train), CIFAR10.test, CIFAR10.names

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


NAME = "tiny.tar.gz"


def draw_records(count, seed):
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, RECORD_BYTES), np.uint8)
    records[:, 0] %= 10
    return records


TRAIN, TEST = draw_records(5 * RECORDS, 0), draw_records(RECORDS, 1)


def layout(train=TRAIN, test=TEST):
    """The seven members by name."""
    members = {CLASS_NAMES: "\n".join([*NAMES, ""]).encode()}
    batches = np.split(train, 5)
    members.update((name, b.tobytes()) for name, b in zip(TRAIN_BATCHES, batches, strict=True))
    return {**members, TEST_BATCH: test.tobytes()}


def pack(members, *more, level=1):
    """A tar.gz of the members, then of (TarInfo, content) pairs."""
    pairs = []
    for name, content in members.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        pairs.append((info, content))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, content in [*pairs, *more]:
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(file.getvalue(), level, mtime=0)


ARCHIVE = pack(layout())


SOURCE = replace(
    CIFAR10,
    url="http://127.0.0.1/" + NAME,
    size=len(ARCHIVE),
    md5=hashlib.md5(ARCHIVE).hexdigest(),
    train=dict.fromkeys(TRAIN_BATCHES, RECORDS),
    test={TEST_BATCH: RECORDS},
    train_digest=content_digest(TRAIN),
    test_digest=content_digest(TEST),
)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refusal(call, *arguments):
    """The one sentence that the failing call gives."""
    with pytest.raises(InputError) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "CIFAR10_ARCHIVE=/absolute/path" in sentence
    assert sentence.endswith("or run `make demo`, which needs no download")
    return sentence
