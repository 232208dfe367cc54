"""A broken download: the next try, of the same call or a later one, fetches the rest only."""

import subprocess
import sys
import threading
import time

import pytest

from src.sources import download
from src.sources.cifar import fetch
from tests.conftest import ROOT
from tests.sources.server import cut, send, send_rest, serving
from tests.sources.tiny_archive import ARCHIVE, NAME, listing, refusal

LOCK, NOTE, PART = f"{NAME}.lock", f"{NAME}.part.json", f"{NAME}.part"
DATE = "Wed, 04 Jun 2008 20:05:39 GMT"


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A call that leaves 30,000 bytes; returns what a later call asked for."""

    def leave_part_then_fetch(*answers, spoil=lambda: None, **headers):
        with serving(cut(**headers), *answers) as (source, asked):
            with monkeypatch.context() as patch:
                patch.setattr(download, "PAUSES_S", ())
                assert "run again to go on from there" in refusal(fetch, source, tmp_path)
            assert listing(tmp_path) == [LOCK, PART, NOTE]
            assert (tmp_path / PART).read_bytes() == ARCHIVE[:30_000]
            spoil()
            assert fetch(source, tmp_path).read_bytes() == ARCHIVE
        assert listing(tmp_path) == [NAME, LOCK]
        return asked[1:]

    return leave_part_then_fetch


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"a1"'}, '"a1"'),
        ({"ETag": '"a1"', "Last_Modified": DATE}, '"a1"'),
        ({"ETag": 'W/"a1"', "Last_Modified": DATE}, DATE),
        ({"ETag": 'W/"a1"'}, None),
        ({}, None),
    ],
)
def test_a_later_call_asks_for_the_rest_of_the_same_file(broken, headers, condition):
    asked = broken(send_rest, **headers)
    assert [headers.get("Range") for headers in asked] == ["bytes=30000-"]
    assert asked[0].get("If-Range") == condition


def test_the_next_try_of_a_call_asks_for_the_rest(tmp_path):
    def cut_rest(handler):
        place = f"bytes 30000-{len(ARCHIVE) - 1}/{len(ARCHIVE)}"
        rest = ARCHIVE[30_000:40_000]
        send(handler, 206, rest, length=len(ARCHIVE) - 30_000, Content_Range=place)

    with serving(cut(), cut_rest, send_rest) as (source, asked):
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert [headers.get("Range") for headers in asked] == [None, "bytes=30000-", "bytes=40000-"]


def test_a_busy_server_costs_nothing_of_what_is_there(broken):
    asked = broken(lambda handler: send(handler, 503, b"busy"), send_rest)
    assert [headers.get("Range") for headers in asked] == ["bytes=30000-"] * 2


def elsewhere(handler):
    """A part, but not the one that was asked for."""
    place = f"bytes 0-{len(ARCHIVE) - 1}/{len(ARCHIVE)}"
    send(handler, 206, Content_Range=place)


@pytest.mark.parametrize(
    ("answers", "ranges"),
    [
        ((send,), ["bytes=30000-"]),  # no ranges there, or the file has changed
        ((lambda h: send(h, 416, b""), send), ["bytes=30000-", None]),
        ((elsewhere, send), ["bytes=30000-", None]),
        ((lambda h: send(h, 206, ARCHIVE[30_000:]), send), ["bytes=30000-", None]),
    ],
)
def test_where_there_is_no_such_rest_the_whole_is_fetched(broken, answers, ranges):
    assert [headers.get("Range") for headers in broken(*answers)] == ranges


def test_the_whole_is_checked_so_a_spoilt_part_is_fetched_anew(broken, tmp_path):
    def spoil():
        (tmp_path / PART).write_bytes(bytes(30_000))

    asked = broken(send_rest, send, spoil=spoil)
    assert [headers.get("Range") for headers in asked] == ["bytes=30000-", None]


@pytest.mark.parametrize("note", [None, b"", b"[]", b"{}", b'{"url_sha256": 1}', b"\xff"])
def test_a_part_of_nobody_knows_what_is_fetched_anew(broken, tmp_path, note):
    def spoil():
        (tmp_path / NOTE).unlink()
        if note is not None:
            (tmp_path / NOTE).write_bytes(note)

    asked = broken(send, spoil=spoil)
    assert [headers.get("Range") for headers in asked] == [None]


def test_a_part_of_another_address_is_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSES_S", ())
    with serving(cut()) as (source, _):
        refusal(fetch, source, tmp_path)
    with serving(send) as (other, asked):
        assert fetch(source, tmp_path, other.url).read_bytes() == ARCHIVE
    assert "Range" not in asked[0]


def test_the_rest_may_not_run_beyond_the_limit(tmp_path):
    def send_more(handler):
        rest = ARCHIVE[30_000:] + b"x"
        send(handler, 206, rest, Content_Range=f"bytes 30000-{len(ARCHIVE)}/*")

    with serving(cut(), send_more) as (source, _):
        assert "sends more than" in refusal(fetch, source, tmp_path)
    assert listing(tmp_path) == [LOCK]


def wait_for_bytes(path):
    end = time.monotonic() + 20
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_download_leaves_no_archive_and_the_next_one_goes_on(tmp_path):
    half, over = threading.Event(), threading.Event()

    def stall(handler):
        cut(70_000, ETag='"a1"')(handler)
        half.set()
        over.wait(20)

    with serving(stall, send_rest) as (source, asked):
        code = f"""
from pathlib import Path
from src.sources import archive, cifar
cifar.fetch(archive.{source!r}, Path({str(tmp_path)!r}))
"""
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
            assert half.wait(20)
            wait_for_bytes(tmp_path / PART)
            process.kill()
        over.set()
        assert listing(tmp_path) == [LOCK, PART, NOTE]
        assert fetch(source, tmp_path).read_bytes() == ARCHIVE
    assert asked[1]["Range"] == f"bytes={download.CHUNK_BYTES}-"
    assert asked[1]["If-Range"] == '"a1"'
    assert listing(tmp_path) == [NAME, LOCK]
