"""CIFAR-100: its fine labels, from the official file only, as its content is not pinned."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from src.data.records import RECORD_BYTES, canonical_order, content_digest
from src.pipeline.errors import InputError
from src.sources.cifar import CIFAR100, load_archive
from tests.sources.tiny_archive import pack

(TRAIN_MEMBER,), (TEST_MEMBER,) = CIFAR100.train, CIFAR100.test
NAMES = [f"fine_{i:02}" for i in range(100)]


def draw_records(count, seed):
    """Records of CIFAR-100's layout: group, class, pixels."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, 1 + RECORD_BYTES), np.uint8)
    records[:, 0] %= 20
    records[:, 1] = np.arange(count)[::-1] % 100
    return records


TRAIN, TEST = draw_records(101, 0), draw_records(5, 1)


def layout(train=TRAIN, test=TEST, names=NAMES):
    return {
        TEST_MEMBER: test.tobytes(),
        TRAIN_MEMBER: train.tobytes(),
        "cifar-100-binary/coarse_label_names.txt": b"group\n" * 20,
        CIFAR100.names: "\n".join([*names, ""]).encode(),
    }


def source_of(archive):
    """The source whose official file these bytes are."""
    return replace(
        CIFAR100, size=len(archive), md5=hashlib.md5(archive).hexdigest(),
        train={TRAIN_MEMBER: len(TRAIN)}, test={TEST_MEMBER: len(TEST)},
    )  # fmt: skip


def load(folder, archive, source=None):
    path = folder / "archive.tar.gz"
    path.write_bytes(archive)
    return load_archive(source or source_of(archive), path)


def test_the_fine_labels_and_their_names_are_taken(tmp_path, capsys):
    train, test, names = load(tmp_path, pack(layout()))
    assert names == NAMES
    assert train.tobytes() == canonical_order(TRAIN[:, 1:]).tobytes()
    assert test.tobytes() == canonical_order(TEST[:, 1:]).tobytes()
    assert set(train[:, 0]) == set(range(100))
    assert capsys.readouterr().out.splitlines() == [
        f"CIFAR-100: train has the content digest {content_digest(train)}",
        f"CIFAR-100: test has the content digest {content_digest(test)}",
    ]


def test_another_file_is_refused_until_the_content_is_pinned(tmp_path):
    archive = pack(layout())
    repacked = pack(layout(), level=0)
    with pytest.raises(InputError, match=r"has md5 \w{32}, so it is not the official \w{32}; name"):
        load(tmp_path, repacked, source_of(archive))
    pinned = replace(
        source_of(archive),
        train_digest=content_digest(TRAIN[:, 1:]),
        test_digest=content_digest(TEST[:, 1:]),
    )
    assert load(tmp_path, repacked, pinned)[2] == NAMES


WRONG = {
    "99 names": (layout(names=NAMES[1:]), "fine_label_names.txt holds 99 names, not 100"),
    "no names": (
        {k: v for k, v in layout().items() if k != CIFAR100.names},
        f"{CIFAR100.names} is missing, so it is not CIFAR-100's binary version",
    ),
    "label 100": (
        layout(test=np.where(np.arange(1 + RECORD_BYTES) == 1, np.uint8(100), TEST)),
        "a test label is 100, not 0 to 99",
    ),
    "CIFAR-10's records": (layout(train=TRAIN[:, 1:]), "train.bin has 310,373 bytes, not 310,474"),
    "the python version": ({"cifar-100-python/train": b""}, "is CIFAR-100's python version, which"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_archive_of_another_layout_is_refused(case, tmp_path):
    members, what = WRONG[case]
    with pytest.raises(InputError) as raised:
        load(tmp_path, pack(members))
    sentence = str(raised.value)
    assert what in sentence
    assert "CIFAR100_ARCHIVE=/absolute/path/cifar-100-binary.tar.gz" in sentence
    assert "CIFAR10_" not in sentence
