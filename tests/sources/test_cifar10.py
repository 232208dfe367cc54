"""The archive: damaged, hostile, or over a bad line, it is refused in one sentence.

The only server is this machine's (127.0.0.1), and the archives are tiny ones of the same layout.
"""

import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.records import RECORD_BYTES, canonical_order, content_digest
from src.pipeline.errors import InputError
from src.sources import cifar10 as download
from src.sources.cifar10 import CLASS_NAMES, TEST_BATCH, TRAIN_BATCHES, fetch, load_cifar10
from tests.conftest import ROOT

RECORDS = 4  # in each batch
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


def pack(members, *more):
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
    return gzip.compress(file.getvalue(), 1, mtime=0)


ARCHIVE = pack(layout())
SOURCE = download.Source(
    url="http://127.0.0.1/" + NAME,
    md5=hashlib.md5(ARCHIVE).hexdigest(),
    train_digest=content_digest(TRAIN),
    test_digest=content_digest(TEST),
    batch_records=RECORDS,
    classes=tuple(NAMES),
)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refusal(call, *arguments):
    """The one sentence with which the call fails."""
    with pytest.raises(InputError) as caught:
        call(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "CIFAR10_ARCHIVE=/absolute/path" in sentence
    assert sentence.endswith("or run `make demo`, which needs no download")
    return sentence


# --- a local archive ---


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load_cifar10 on an archive of these bytes, which must leave nothing behind."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = inner / NAME

    def load_bytes(content):
        path.write_bytes(content)
        before = listing(tmp_path)
        try:
            return load_cifar10(path, SOURCE)
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
    """The archive with a link in place of the test batch, to a batch of the right size."""
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
    """The archive and one more member, whose header has this map of holes."""
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
    "python version": (
        pack({"cifar-10-batches-py/data_batch_1": b""}),
        "not CIFAR-10's binary ver",
    ),
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
    sentence = refusal(load_cifar10, place, SOURCE)
    what = "is not an absolute path" if wrong == "relative" else "is not there, or not a file"
    assert sentence.startswith(f"{place}: {what}; ")


def test_a_local_archive_that_cannot_be_looked_at_is_named(tmp_path):
    place = tmp_path / ("long" * 100)
    sentence = refusal(load_cifar10, place, SOURCE)
    # Newer versions of Python take it for a file that is not there.
    whats = ("cannot be read (File name too long); ", "is not there, or not a file; ")
    assert sentence.startswith(tuple(f"{place}: {what}" for what in whats))


# --- the network ---


@pytest.fixture(autouse=True)
def pooch_log(monkeypatch):
    """What pooch logs; and no proxy, and no wait between tries."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    log = io.StringIO()  # its handler holds the stderr of the moment it was imported
    monkeypatch.setattr(pooch.get_logger().handlers[0], "stream", log)
    return log


def send(handler, status=200, body=ARCHIVE, length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(length or len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(*answers):
    """A Source at a server on 127.0.0.1 that gives each answer in turn, the last for ever.

    Yields (source, asked): `asked` grows with each request.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answers[min(len(asked), len(answers)) - 1](self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield replace(SOURCE, url=f"http://127.0.0.1:{server.server_port}/{NAME}"), asked
        finally:
            server.shutdown()
            thread.join()


def test_a_download_is_kept_so_that_the_next_needs_no_server(tmp_path):
    with serving(send) as (source, asked):
        first = load_cifar10(None, source, tmp_path / "cache")
    again = load_cifar10(None, source, tmp_path / "cache")
    assert asked == [f"/{NAME}"]
    assert listing(tmp_path) == ["cache", f"cache/{NAME}"]
    assert first[0].tobytes() == again[0].tobytes() == canonical_order(TRAIN).tobytes()


def test_the_cache_is_the_users_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    with serving(send) as (source, _):
        assert fetch(source) == tmp_path / "cifar-resnet" / NAME


def test_a_damaged_file_in_the_cache_is_fetched_anew(tmp_path):
    (tmp_path / NAME).write_bytes(ARCHIVE[:-1])
    with serving(send) as (source, asked):
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert len(asked) == 1


@pytest.mark.parametrize("trouble", [503, 500, "cut", "wrong"])
def test_a_passing_trouble_is_tried_again(tmp_path, trouble):
    answer = {
        "cut": lambda handler: send(handler, body=ARCHIVE[:999], length=len(ARCHIVE)),
        "wrong": lambda handler: send(handler, body=b"<html>log in</html>"),
    }.get(trouble, lambda handler: send(handler, trouble, b"busy"))
    with serving(answer, send) as (source, asked):
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert len(asked) == 2
    assert listing(tmp_path) == [NAME]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda handler: send(handler, 404, b"gone"), "the server answered with status 404"),
        (lambda handler: send(handler, 503, b"busy"), "the server answered with status 503"),
        (lambda handler: send(handler, body=b"<html>"), "not the archive (its md5 differs)"),
        (lambda handler: send(handler, body=ARCHIVE[:-1]), "not the archive (its md5 differs)"),
        (lambda handler: send(handler, length=len(ARCHIVE) + 1), "cut before the end"),
        (lambda handler: send(handler, body=b"", length=5), "cut before the end"),
        (lambda handler: handler.wfile.write(b"what?\r\n\r\n"), "cannot be reached"),
    ],
)
def test_a_lasting_trouble_is_told_in_one_sentence(tmp_path, capfd, pooch_log, answer, what):
    with serving(answer) as (source, asked):
        sentence = refusal(fetch, source, tmp_path)
    assert sentence.startswith(f"{source.url}: ")
    assert what in sentence
    assert len(asked) == 1 + download.RETRIES
    assert listing(tmp_path) == []  # a bad file never gets the name, nor is one left
    assert (*capfd.readouterr(), pooch_log.getvalue()) == ("", "", "")


@pytest.mark.parametrize("sent", [None, 0, 999])
def test_a_server_that_falls_silent_is_given_up(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(download, "RETRIES", 0)
    over = threading.Event()

    def stall(handler):
        if sent is not None:
            send(handler, body=ARCHIVE[:sent], length=len(ARCHIVE))
        over.wait(20)

    start = time.monotonic()
    with serving(stall) as (source, _):
        sentence = refusal(fetch, source, tmp_path, 0.3)
        over.set()
    assert f"{source.url}: the server sent nothing for 0.3 s; " in sentence
    assert time.monotonic() - start < 10
    assert listing(tmp_path) == []


def test_without_a_network_one_sentence_names_the_address_and_two_ways_out(
    tmp_path, capfd, pooch_log
):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        source = replace(SOURCE, url=f"http://127.0.0.1:{taken.getsockname()[1]}/{NAME}")
        sentence = refusal(load_cifar10, None, source, tmp_path)
    assert sentence.startswith(f"{source.url}: cannot be reached (ConnectionError); ")
    assert (*capfd.readouterr(), pooch_log.getvalue()) == ("", "", "")


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with serving(send) as (source, _):
        sentence = refusal(fetch, source, tmp_path / "file" / "cache")
    assert "cannot be stored" in sentence
    assert str(tmp_path / "file") in sentence


def test_two_at_once_both_get_the_archive(tmp_path):
    together = threading.Barrier(2, timeout=10)

    def answer(handler):
        together.wait()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(ARCHIVE)))
        handler.end_headers()
        handler.wfile.write(ARCHIVE[:999])
        together.wait()
        handler.wfile.write(ARCHIVE[999:])

    with serving(answer) as (source, asked), ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(fetch, [source] * 2, [tmp_path] * 2))
    assert len(asked) == 2
    assert [path.read_bytes() for path in paths] == [ARCHIVE] * 2
    assert listing(tmp_path) == [NAME]


def test_a_killed_download_leaves_no_archive_and_the_next_one_is_whole(tmp_path):
    half, over = threading.Event(), threading.Event()

    def stall(handler):
        send(handler, body=ARCHIVE[:30_000], length=len(ARCHIVE))
        half.set()
        over.wait(20)

    with serving(stall, send) as (source, _):
        code = f"""
from pathlib import Path
from src.sources import cifar10 as download
download.fetch(download.{source!r}, Path({str(tmp_path)!r}))
"""
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
            assert half.wait(20)
            process.kill()
        over.set()
        leftovers = listing(tmp_path)
        assert NAME not in leftovers
        assert len(leftovers) == 1  # pooch's temporary file
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE


def test_what_killed_downloads_left_is_removed_once_it_is_old(tmp_path):
    old, live, other = tmp_path / "tmpold", tmp_path / "tmplive", tmp_path / "mine"
    for path in [old, live, other]:
        path.write_bytes(b"half")
    for path in [old, other]:
        os.utime(path, (0, time.time() - 2 * download.ABANDONED_S))
    with serving(send) as (source, _):
        fetch(source, tmp_path)
    assert listing(tmp_path) == ["mine", NAME, "tmplive"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_on_a_terminal_only_and_ends_its_line_after_a_failure(tmp_path, monkeypatch):
    shown = {}
    for kind in [Terminal, io.StringIO]:
        shown[kind] = kind()
        monkeypatch.setattr(sys, "stderr", shown[kind])
        with serving(lambda handler: send(handler, length=len(ARCHIVE) + 1)) as (source, _):
            refusal(fetch, source, tmp_path)
    text = shown[Terminal].getvalue()
    assert text.count("\n") == 1 + download.RETRIES
    assert text.endswith("\n")
    assert "CIFAR-10" in text
    assert shown[io.StringIO].getvalue() == ""


# --- the report ---


def draw_images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.randoms())
def test_channel_statistics_are_exact_and_the_same_to_the_bit_in_any_order(count, seed, random):
    images = draw_images(count, seed)
    images[..., 1] = 255
    mean, std = download.channel_statistics(images)
    scaled = images.astype(np.longdouble) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)).astype(float), rtol=3e-16)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)).astype(float), rtol=1e-15, atol=1e-18)
    assert (mean[1], std[1]) == (1, 0)
    shuffled = images[random.sample(range(count), count)].swapaxes(1, 2)
    again = download.channel_statistics(shuffled)
    assert [values.tobytes() for values in again] == [mean.tobytes(), std.tobytes()]


def test_channel_statistics_do_not_overflow():
    # One white and one black half: n * (sum of squares) is beyond 64 bits with this many images.
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16] = 255
    mean, std = download.channel_statistics(np.broadcast_to(image, (20_000, 32, 32, 3)))
    assert mean.tolist() == std.tolist() == [0.5, 0.5, 0.5]


def test_the_report_holds_eight_numbers_of_the_train_images_and_two_digests():
    values = download.report(TRAIN, TEST)
    numbers = [key for key, value in values.items() if isinstance(value, int | float)]
    assert len(numbers) == 8
    assert (values["train_images"], values["test_images"]) == (20, 4)
    green = TRAIN[:, 1 + 1024 : 1 + 2048] / 255
    assert values["mean_green"] == pytest.approx(green.mean(), rel=1e-12)
    assert values["std_green"] == pytest.approx(green.std(), rel=1e-12)
    assert values["train_digest"] == SOURCE.train_digest
    assert values["test_digest"] == SOURCE.test_digest


def test_importing_download_loads_neither_torch_nor_pooch():
    code = (
        "import sys, src.sources.cifar10; print({'torch', 'pooch', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.slow
@pytest.mark.skipif(
    "CIFAR10_ARCHIVE" not in os.environ,
    reason="CIFAR10_ARCHIVE=/absolute/path/cifar-10-binary.tar.gz is not set",
)
def test_the_real_archive_has_the_pinned_content():
    train, test, class_names = load_cifar10(Path(os.environ["CIFAR10_ARCHIVE"]))
    assert class_names == NAMES
    values = download.report(train, test)
    assert (values["train_images"], values["test_images"]) == (50_000, 10_000)
    for key, expected in {
        "mean_red": 0.49139968, "mean_green": 0.48215841, "mean_blue": 0.44653091,
        "std_red": 0.24703223, "std_green": 0.24348513, "std_blue": 0.26158784,
    }.items():  # fmt: skip
        assert values[key] == pytest.approx(expected, abs=5e-9)
