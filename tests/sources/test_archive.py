"""A damaged or hostile archive is refused in one sentence."""

import gzip
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from src.data.records import RECORD_BYTES, canonical_order
from src.sources.cifar import load_archive
from tests.sources.tiny_archive import (
    ARCHIVE,
    CLASS_NAMES,
    NAME,
    NAMES,
    RECORDS,
    SOURCE,
    TEST,
    TEST_BATCH,
    TRAIN,
    TRAIN_BATCHES,
    layout,
    listing,
    pack,
    refusal,
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Call load_archive on an archive of these bytes; the call must leave nothing behind."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = inner / NAME

    def load_bytes(content):
        path.write_bytes(content)
        before = listing(tmp_path)
        try:
            return load_archive(SOURCE, path)
        finally:
            assert listing(tmp_path) == before
            assert path.read_bytes() == content

    return load_bytes


def test_an_archive_gives_its_records_in_canonical_order_and_the_names(load):
    train, test, names = load(ARCHIVE)
    assert train.tobytes() == canonical_order(TRAIN).tobytes()
    assert test.tobytes() == canonical_order(TEST).tobytes()
    assert names == NAMES


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_copy_in_any_order_gives_the_same_bytes(load, seed):
    rng = np.random.default_rng(seed)
    members = layout(rng.permutation(TRAIN), rng.permutation(TEST))
    shuffled = pack(dict(reversed(members.items())))
    assert shuffled != ARCHIVE
    for records, expected in zip(load(shuffled), load(ARCHIVE), strict=True):
        assert np.array(records).tobytes() == np.array(expected).tobytes()


def test_other_members_are_passed_over_even_with_dots_in_their_names(load):
    strangers = {"../escape.bin": b"x", "/tmp/x": b"x", "cifar-10-batches-bin/../../up": b"x"}
    train, _, _ = load(pack({**strangers, **layout(), "cifar-10-batches-bin/readme.html": b"x"}))
    assert train.tobytes() == canonical_order(TRAIN).tobytes()


def link(kind):
    """The archive whose test batch is a link to a batch of the right size."""
    info = tarfile.TarInfo(TEST_BATCH)
    info.type, info.linkname = kind, TRAIN_BATCHES[0]
    if kind == tarfile.SYMTYPE:
        info.linkname = Path(TRAIN_BATCHES[0]).name
    members = layout()
    del members[TEST_BATCH]
    return pack(members, (info, b""))


def without(name):
    return pack({key: content for key, content in layout().items() if key != name})


def renamed(old, new):
    return pack({new if key == old else key: content for key, content in layout().items()})


def twice(name):
    info = tarfile.TarInfo(name)
    info.size = len(layout()[name])
    return pack(layout(), (info, layout()[name]))


def claiming(size, name=TEST_BATCH):
    """The archive whose last header claims that its member is `size` bytes long."""
    info = tarfile.TarInfo(name)
    info.size = size
    members = layout()
    del members[TEST_BATCH]
    tar = gzip.decompress(pack(members)).rstrip(b"\0")
    tar += bytes(-len(tar) % 512)
    return gzip.compress(tar + info.tobuf(tarfile.GNU_FORMAT) + TEST.tobytes(), 1)


def changed_pixel(name, place):
    content = bytearray(layout()[name])
    content[place] ^= 1
    return pack({**layout(), name: bytes(content)})


def labelled(label):
    test = TEST.copy()
    test[2, 0] = label
    return pack(layout(test=test))


def names(text):
    return pack({**layout(), CLASS_NAMES: text})


def sparse(holes):
    """The archive with one more member, whose header has this map of holes."""
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.map": holes}
    return pack(layout(), (info, b""))


def hollow_names(size):
    """The archive with class names that are one hole of `size` bytes."""
    info = tarfile.TarInfo(CLASS_NAMES)
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(size)}
    return pack({k: v for k, v in layout().items() if k != CLASS_NAMES}, (info, b""))


def recursion():
    """A tar whose long-name headers nest deeper than Python's stack."""
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    return gzip.compress(info.tobuf() * 1900)


BATCH = RECORDS * RECORD_BYTES


BINARY = f"the binary version is at {SOURCE.url} and is "
PYTHON = f"python version, which is never read, because loading a pickle can run code; {BINARY}"
NOT_THE_NAMES = f"{CLASS_NAMES} does not hold {', '.join(NAMES)}"


REFUSED = {
    "empty file": (b"", "damaged"),
    "not gzip": (b"<html>404</html>", "damaged"),
    "not a tar": (gzip.compress(b"x" * 2000), "damaged"),
    "empty tar": (gzip.compress(bytes(10240)), f"{CLASS_NAMES} is missing"),
    "cut gzip": (ARCHIVE[: len(ARCHIVE) // 2], "damaged"),
    "cut by a byte": (ARCHIVE[:-1], "damaged"),
    "broken gzip": (ARCHIVE[:5000] + bytes(50) + ARCHIVE[5050:], "damaged"),
    "broken deflate": (ARCHIVE[:10] + b"\xff" * 99, "damaged"),
    "cut tar": (gzip.compress(gzip.decompress(ARCHIVE)[:70_000]), "damaged"),
    "no test batch": (without(TEST_BATCH), f"{TEST_BATCH} is missing"),
    "no class names": (without(CLASS_NAMES), f"{CLASS_NAMES} is missing"),
    "another archive": (pack({"readme.txt": b""}), "not CIFAR-10's binary version"),
    "python version": (pack({"cifar-10-batches-py/data_batch_1": b""}), PYTHON),
    # The real one is larger than the binary version.
    "large python version": (pack({"cifar-10-batches-py/data_batch_1": bytes(2**21)}), PYTHON),
    "dots in the name": (
        renamed(TEST_BATCH, f"cifar-10-batches-bin/../{TEST_BATCH}"),
        f"{TEST_BATCH} is missing",
    ),
    "batch too short": (
        pack({**layout(), TRAIN_BATCHES[2]: bytes(BATCH - RECORD_BYTES)}),
        f"{TRAIN_BATCHES[2]} has 9,219 bytes, not 12,292",
    ),
    "batch too long": (
        pack({**layout(), TRAIN_BATCHES[2]: bytes(BATCH + 1)}),
        f"{TRAIN_BATCHES[2]} has 12,293 bytes, not 12,292",
    ),
    "symlink": (link(tarfile.SYMTYPE), f"{TEST_BATCH} is not an ordinary file"),
    "hard link": (link(tarfile.LNKTYPE), f"{TEST_BATCH} is not an ordinary file"),
    "folder": (link(tarfile.DIRTYPE), f"{TEST_BATCH} is not an ordinary file"),
    "fifo": (link(tarfile.FIFOTYPE), f"{TEST_BATCH} is not an ordinary file"),
    "duplicate": (twice(TEST_BATCH), f"has {TEST_BATCH} twice"),
    "duplicate names": (twice(CLASS_NAMES), f"has {CLASS_NAMES} twice"),
    "huge claim": (claiming(10**10), f"{TEST_BATCH} has 10,000,000,000 bytes"),
    "negative size": (claiming(-512, "x"), "negative size"),
    "size beyond 64 bits": (claiming(2**80, "x"), "damaged"),
    "sparse nonsense": (sparse("0,x"), "damaged"),
    "sparse names": (hollow_names(2**50), f"{CLASS_NAMES} is not an ordinary file"),
    "nested headers": (recursion(), "damaged"),
    "changed pixel": (changed_pixel(TRAIN_BATCHES[4], 3000), "train images are not the official"),
    "changed test pixel": (changed_pixel(TEST_BATCH, 3000), "test images are not the official"),
    "swapped splits": (pack(layout(np.concatenate([TRAIN[:-4], TEST]), TRAIN[-4:])), "not the off"),
    "label 10": (labelled(10), "a test label is 10, not 0 to 9"),
    "label 255": (labelled(255), "a test label is 255, not 0 to 9"),
    "nine names": (names(" ".join(NAMES[:-1]).encode()), NOT_THE_NAMES),
    "eleven names": (names(" ".join([*NAMES, "lorry"]).encode()), NOT_THE_NAMES),
    "two names exchanged": (
        names(" ".join([*NAMES[:8], "truck", "ship"]).encode()),
        NOT_THE_NAMES,
    ),
    "eleven names, ten different": (names(" ".join([*NAMES, "truck"]).encode()), NOT_THE_NAMES),
    "a name twice": (names(" ".join([*NAMES[:9], "ship"]).encode()), NOT_THE_NAMES),
    "no names": (names(b"\xff\0"), NOT_THE_NAMES),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_or_hostile_archive_is_refused_by_name(load, tmp_path, case):
    content, what = REFUSED[case]
    sentence = refusal(load, content)
    assert sentence.startswith(f"{tmp_path / 'a' / 'b' / NAME}: ")
    assert what in sentence


@pytest.mark.parametrize("huge", ["stranger.bin", TEST_BATCH])
def test_a_huge_member_is_refused_before_it_fills_the_memory(load, huge):
    content = pack({huge: bytes(2**25), **{k: v for k, v in layout().items() if k != huge}})
    assert len(content) < 2**20
    tracemalloc.start()
    try:
        assert "unpacks to more than" in refusal(load, content)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_blank_last_line_among_the_names_is_no_name(load):
    assert load(names("\n".join([*NAMES, "", ""]).encode()))[2] == NAMES


@pytest.mark.parametrize("wrong", ["relative", "missing", "folder", "fifo"])
def test_a_local_archive_must_be_the_absolute_path_of_a_file(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).write_bytes(ARCHIVE)
    os.mkfifo(tmp_path / "fifo")
    place = {
        "relative": Path(NAME),
        "missing": tmp_path / "no.tar.gz",
        "folder": tmp_path,
        "fifo": tmp_path / "fifo",
    }[wrong]
    sentence = refusal(load_archive, SOURCE, place)
    what = "is not an absolute path" if wrong == "relative" else "is not there, or not a file"
    assert sentence.startswith(f"{place}: {what}; ")


def test_a_local_archive_that_cannot_be_looked_at_is_named(tmp_path):
    place = tmp_path / ("long" * 100)
    sentence = refusal(load_archive, SOURCE, place)
    # Newer versions of Python say that the file does not exist.
    whats = ("cannot be read (File name too long); ", "is not there, or not a file; ")
    assert sentence.startswith(tuple(f"{place}: {what}" for what in whats))
