"""dvc.lock is read in one way, and one that is damaged is told of in a sentence."""

from pathlib import Path

import pytest

from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.lock import Recorded, md5, parse_lock, read_lock
from src.pipeline.stage import recorded

LOCK = """\
schema: '2.0'
stages:
  download:
    cmd: one
    outs:
    - {path: data/test.bin, hash: md5, md5: aaa, size: 1}
  evaluate:
    cmd: two
    deps:
    - {path: data/test.bin, hash: md5, md5: aaa, size: 1}
    - {path: src/data, hash: md5, md5: bbb.dir, size: 1, nfiles: 1}
    outs:
    - {path: a/s3/file, hash: etag, etag: x}
"""
DAMAGED = [
    b"", b"{", b"3", b"\xff\xfe\xfd", b"schema: '2.0'", b"a: 2025-99-99", b"[" * 9999,
    b"stages: []", b"stages: {train: 3}", b"stages: {train: {outs: 3}}",
    b"stages: {train: {outs: [a]}}", b"stages: {train: {outs: [{}]}}",
    b"stages: {train: {outs: [{path: 3}]}}",
]  # fmt: skip


def test_digests_stand_by_stage_and_path() -> None:
    test = {Path("data/test.bin"): "aaa"}
    assert parse_lock(LOCK.encode(), "") == {
        "download": Recorded({}, test),
        "evaluate": Recorded(test | {Path("src/data"): "bbb.dir"}, {Path("a/s3/file"): None}),
    }


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_lock_is_said_in_a_sentence(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^HEAD: dvc\.lock: is damaged \(.+\); `git ch.*back$"):
        parse_lock(content, "HEAD: dvc.lock")


def test_a_stage_has_no_record_where_there_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^dvc\.lock: cannot be read \(No such file"):
        read_lock(paths.LOCK)
    assert recorded("train", paths.WEIGHTS) is None
    for content in (b"", LOCK.encode()):
        paths.LOCK.write_bytes(content)
        assert recorded("train", paths.WEIGHTS) is None
    assert recorded("download", Path("data/test.bin")) == "aaa"


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc\r\n")
    assert md5(tmp_path / "a") == "c13b6afecf97ea6b38d21a8f5167fa1e"
