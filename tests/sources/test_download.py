"""The download: over a bad line it is refused in one sentence, and a good one is kept."""

import io
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from src.sources import download
from src.sources.cifar import fetch, load_archive
from tests.conftest import ROOT
from tests.sources.server import cut, send, send_rest, serving
from tests.sources.tiny_archive import ARCHIVE, NAME, SOURCE, listing, refusal

LOCK, NOTE, PART = f"{NAME}.lock", f"{NAME}.part.json", f"{NAME}.part"
TRIES = 3


def test_a_damaged_file_in_the_cache_is_fetched_anew(tmp_path):
    (tmp_path / NAME).write_bytes(ARCHIVE[:-1])
    with serving(send) as (source, asked):
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert len(asked) == 1


def test_a_good_file_needs_neither_a_server_nor_a_folder_to_write_to(tmp_path):
    (tmp_path / NAME).write_bytes(ARCHIVE)
    assert fetch(SOURCE, tmp_path) == tmp_path / NAME
    assert listing(tmp_path) == [NAME]


@pytest.mark.parametrize("trouble", [503, 500, "cut", "wrong"])
def test_a_passing_trouble_is_tried_again(tmp_path, trouble):
    answer = {
        "cut": cut(999),
        "wrong": lambda handler: send(handler, body=b"<html>log in</html>"),
    }.get(trouble, lambda handler: send(handler, trouble, b"busy"))
    with serving(answer, send) as (source, asked):
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert len(asked) == 2
    assert listing(tmp_path) == [NAME, LOCK]


@pytest.mark.parametrize(
    ("answer", "what", "kept"),
    [
        (lambda h: send(h, 404, b"gone"), "the server answered with status 404", []),
        (lambda h: send(h, 503, b"busy"), "the server answered with status 503", []),
        (lambda h: send(h, body=b"<html>"), "is damaged or cannot be read (Not a gzip", []),
        (lambda h: send(h, body=ARCHIVE[:-1]), "is damaged or cannot be read (Compre", []),
        (lambda h: send(h, length=len(ARCHIVE) + 1), "cut before the end", [PART, NOTE]),
        (lambda h: send(h, body=b"", length=5), "cut before the end", [PART, NOTE]),
        (lambda h: h.wfile.write(b"what?\r\n\r\n"), "cannot be reached", []),
    ],
)
def test_a_lasting_trouble_is_told_in_one_sentence(tmp_path, capfd, answer, what, kept):
    with serving(answer) as (source, asked):
        sentence = refusal(fetch, source, tmp_path)
    assert sentence.startswith(f"{source.url}: ")
    assert what in sentence
    assert "part" not in sentence
    assert len(asked) == TRIES
    assert listing(tmp_path) == [LOCK, *kept]  # a bad file never gets the name, nor is one left
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sent", [None, 0, 999])
def test_a_server_that_falls_silent_is_given_up(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(download, "PAUSES_S", ())
    over = threading.Event()

    def stall(handler):
        if sent is not None:
            cut(sent)(handler)
        over.wait(20)

    start = time.monotonic()
    with serving(stall) as (source, _):
        sentence = refusal(lambda: fetch(source, tmp_path, timeout_s=0.3))
        over.set()
    assert f"{source.url}: the server sent nothing for 0.3 s" in sentence
    assert time.monotonic() - start < 10
    assert NAME not in listing(tmp_path)


def test_without_a_network_one_sentence_names_the_address_and_three_ways_out(tmp_path, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        source = replace(SOURCE, url=f"http://127.0.0.1:{taken.getsockname()[1]}/{NAME}")
        sentence = refusal(load_archive, source, None, tmp_path)
    assert sentence.startswith(f"{source.url}: cannot be reached (ConnectionError); ")
    assert "CIFAR10_URL=https://" in sentence
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "/data/x.tar.gz", "x"])
def test_an_address_of_another_kind_is_refused(tmp_path, url):
    sentence = refusal(fetch, SOURCE, tmp_path, url)
    assert sentence.startswith(f"{url}: is not an http or https address; ")
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["http://", "https://[::1/x", "http://a b/x", "http://.x/", "http://a..b/x"]
)
def test_an_impossible_address_is_told_in_one_sentence(tmp_path, url):
    assert refusal(fetch, SOURCE, tmp_path, url).startswith(f"{url}: is not a valid address; ")


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with serving(send) as (source, _):
        sentence = refusal(fetch, source, tmp_path / "file" / "cache")
    assert "cannot be stored" in sentence
    assert str(tmp_path / "file") in sentence


@pytest.mark.parametrize("claimed", [None, 2**40])
def test_a_server_that_never_ends_is_left_at_the_archives_size(tmp_path, claimed):
    sent = []

    def send_for_ever(handler):
        handler.send_response(200)
        if claimed:
            handler.send_header("Content-Length", str(claimed))
        handler.end_headers()
        try:
            while True:
                sent.append(handler.wfile.write(bytes(2**16)))
        except ConnectionError:
            pass

    with serving(send_for_ever) as (source, asked):
        sentence = refusal(fetch, source, tmp_path)
    what = f"sends more than {len(ARCHIVE):,} bytes, so it is not the archive; "
    assert sentence.startswith(f"{source.url}: {what}")
    assert len(asked) == 1
    assert sum(sent) < 2**25  # what fits between the two of them
    assert listing(tmp_path) == [LOCK]


def test_an_archive_marked_as_encoded_is_stored_as_it_is(tmp_path):
    """Some servers take the .gz in its name for an encoding of the transfer."""
    with serving(lambda h: send(h, Content_Encoding="gzip")) as (source, asked):
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert asked[0]["Accept-Encoding"] == "identity"


def test_two_at_once_fetch_it_once(tmp_path, monkeypatch):
    asked_once, waiting = threading.Event(), threading.Event()
    monkeypatch.setattr(download, "print", lambda *_, **__: waiting.set(), raising=False)

    def answer(handler):
        asked_once.set()
        assert waiting.wait(20)
        send(handler)

    with serving(answer) as (source, asked), ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, source, tmp_path)
        assert asked_once.wait(20)
        second = pool.submit(fetch, source, tmp_path)
        paths = [first.result(), second.result()]
    assert len(asked) == 1
    assert [path.read_bytes() for path in paths] == [ARCHIVE] * 2
    assert listing(tmp_path) == [NAME, LOCK]


def test_one_that_waited_goes_on_where_the_other_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSES_S", ())
    asked_once, waiting = threading.Event(), threading.Event()
    monkeypatch.setattr(download, "print", lambda *_, **__: waiting.set(), raising=False)

    def answer(handler):
        asked_once.set()
        assert waiting.wait(20)
        cut()(handler)

    with serving(answer, send_rest) as (source, asked), ThreadPoolExecutor(2) as pool:
        first = pool.submit(refusal, fetch, source, tmp_path)
        assert asked_once.wait(20)
        second = pool.submit(fetch, source, tmp_path)
        assert "cut before the end of the file (run again to go on from there)" in first.result()
        assert second.result().read_bytes() == ARCHIVE
    assert asked[1]["Range"] == "bytes=30000-"


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
    assert text.count("\n") == TRIES
    assert text.endswith("\n")
    assert f"{NAME}: " in text
    assert shown[io.StringIO].getvalue() == ""


def test_importing_it_loads_neither_torch_nor_requests():
    names = "{'torch', 'requests', 'urllib3', 'platformdirs'}"
    code = f"import sys, src.sources.cifar; print({names} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_certificates_that_are_not_there_are_no_fault_of_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    sentence = refusal(fetch, SOURCE, tmp_path, "https://127.0.0.1/x")
    assert sentence.startswith(
        "https://127.0.0.1/x: cannot be reached (Could not find a suitable TLS"
    )


def test_neither_note_nor_fault_has_the_password(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSES_S", ())
    with serving(cut()) as (source, _):
        url = source.url.replace("//", "//me:s@secret@")
        sentence = refusal(fetch, source, tmp_path, url)
    assert sentence.startswith(f"{source.url}: the connection was cut before the end of the file")
    assert json.loads((tmp_path / NOTE).read_text()).keys() == {"url_sha256", "validator"}
    assert "secret" not in (tmp_path / NOTE).read_text()
