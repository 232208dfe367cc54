"""A bad download is refused in one sentence, and a good one is kept.

The only server is on this machine (127.0.0.1); the archives are tiny and have the same layout.
"""

import io
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from src.data.records import canonical_order
from src.sources import cifar10 as download
from src.sources.cifar10 import fetch, load_cifar10
from tests.conftest import ROOT
from tests.sources.tiny_archive import ARCHIVE, NAME, NAMES, SOURCE, TRAIN, listing, refusal


@pytest.fixture(autouse=True)
def pooch_log(monkeypatch):
    """Return what pooch logs; pooch uses no proxy and does not wait between tries."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    log = io.StringIO()  # pooch's handler keeps the stderr from when pooch was imported
    monkeypatch.setattr(pooch.get_logger().handlers[0], "stream", log)
    return log


def send(handler, status=200, body=ARCHIVE, length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(length or len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(*answers):
    """Run a server on 127.0.0.1 that gives each answer in turn, and repeats the last.

    Yields (source, asked): a Source at that server, and a list that grows with each request.
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
    assert listing(tmp_path) == []  # a bad file never gets the name, and none is left behind
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
