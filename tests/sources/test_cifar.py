"""CIFAR-10's archive: which file is taken for it, from the cache, the source or a mirror."""

import os
from pathlib import Path

import numpy as np
import pytest

from src.data.dataset import describe
from src.data.records import canonical_order
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from src.sources.cifar import CIFAR10, CIFAR100, fetch, load_archive
from stages import download as stage
from tests.conftest import tiny_values
from tests.sources.server import send, serving
from tests.sources.tiny_archive import (
    ARCHIVE,
    NAME,
    NAMES,
    SOURCE,
    TEST,
    TRAIN,
    layout,
    listing,
    pack,
    refusal,
)

LOCK = f"{NAME}.lock"
# Another order, no compression: another md5, and larger.
REPACKED = pack(layout(np.roll(TRAIN, 1, axis=0)), level=0)
OTHER = pack(layout(test=np.roll(TEST, 1, axis=1) % 10))


def test_a_download_is_kept_so_that_the_next_needs_no_server(tmp_path):
    with serving(send) as (source, asked):
        first = load_archive(source, None, tmp_path / "cache")
    again = load_archive(source, None, tmp_path / "cache")
    assert [headers["path"] for headers in asked] == [f"/{NAME}"]
    assert listing(tmp_path) == ["cache", f"cache/{NAME}", f"cache/{LOCK}"]
    assert first[0].tobytes() == again[0].tobytes() == canonical_order(TRAIN).tobytes()


def test_the_cache_is_the_users_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda project: tmp_path / project)
    with serving(send) as (source, _):
        assert fetch(source) == tmp_path / "cifar-resnet" / NAME


def test_a_mirror_may_hold_a_copy_packed_anew(tmp_path):
    assert len(ARCHIVE) < len(REPACKED)
    with serving(lambda handler: send(handler, body=REPACKED)) as (mirror, asked):
        train, test, _ = load_archive(SOURCE, None, tmp_path, mirror.url)
        load_archive(SOURCE, None, tmp_path, mirror.url)
    assert len(asked) == 1
    assert train.tobytes() == canonical_order(TRAIN).tobytes()
    assert test.tobytes() == canonical_order(TEST).tobytes()
    load_archive(SOURCE, None, tmp_path)  # it is CIFAR-10, whoever asks
    assert listing(tmp_path) == [NAME, LOCK]


def test_a_mirror_with_other_images_is_refused_by_its_address(tmp_path):
    with serving(lambda handler: send(handler, body=OTHER)) as (mirror, _):
        sentence = refusal(load_archive, SOURCE, None, tmp_path, mirror.url)
    assert sentence.startswith(f"{mirror.url}: its test images are not the official ones")
    assert listing(tmp_path) == [LOCK]


def test_a_mirrors_file_that_is_damaged_in_the_cache_is_fetched_anew(tmp_path):
    (tmp_path / NAME).write_bytes(REPACKED[:-100])
    with serving(lambda handler: send(handler, body=REPACKED)) as (mirror, asked):
        assert fetch(SOURCE, tmp_path, mirror.url).read_bytes() == REPACKED
    assert len(asked) == 1


def test_a_mirror_has_room_for_a_copy_without_compression_and_no_more(tmp_path):
    assert 184_400_000 < CIFAR10.size * 6 // 5 < 210_000_000  # the tar has 184.3 MB
    with serving(lambda handler: send(handler, body=bytes(len(ARCHIVE) * 2))) as (mirror, _):
        sentence = refusal(fetch, SOURCE, tmp_path, mirror.url)
    assert f"{mirror.url}: sends more than {len(ARCHIVE) * 6 // 5:,} bytes" in sentence


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_stage_takes_the_mirror_from_the_environment(monkeypatch, name):
    monkeypatch.delenv(f"{name.upper()}_ARCHIVE", raising=False)
    monkeypatch.setenv(f"{name.upper()}_URL", "ftp://127.0.0.1/x")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: Path("/nowhere"))
    values = tiny_values()
    values["data"]["source"] = name
    with pytest.raises(InputError, match=r"^ftp://127.0.0.1/x: is not an http or https address"):
        stage.main(Params.model_validate(values), {})


@pytest.mark.slow
@pytest.mark.skipif(
    "CIFAR10_ARCHIVE" not in os.environ,
    reason="CIFAR10_ARCHIVE=/absolute/path/cifar-10-binary.tar.gz is not set",
)
def test_the_real_archive_has_the_pinned_content():
    train, test, class_names = load_archive(CIFAR10, Path(os.environ["CIFAR10_ARCHIVE"]))
    assert class_names == NAMES
    assert (len(train), len(test)) == (50_000, 10_000)
    values = describe(train)
    for key, expected in {
        "mean_red": 0.49139968, "mean_green": 0.48215841, "mean_blue": 0.44653091,
        "std_red": 0.24703223, "std_green": 0.24348513, "std_blue": 0.26158784,
    }.items():  # fmt: skip
        assert values[key] == pytest.approx(expected, abs=5e-9)


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100], ids=["CIFAR-10", "CIFAR-100"])
def test_an_archive_that_cannot_be_read_is_told(source):
    """As on a failing disk: this file is there, and each reading of it fails."""
    said = r"^/proc/self/mem: .*cannot be read \(.*Input/output error\)"
    with pytest.raises(InputError, match=said):
        load_archive(source, Path("/proc/self/mem"))
