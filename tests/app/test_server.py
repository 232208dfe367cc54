"""The server answers this machine's page alone, and says of every picture what it is or lacks."""

import asyncio
import base64
import io
import socket
import threading
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import numpy as np
import pytest
import requests
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from PIL import Image

from src.app import server
from src.app.answer import SMALL
from src.app.server import MAX_BYTES, build, listen, only_from_here, predict_with
from src.pictures import decode_picture, read_picture
from src.pipeline.errors import InputError
from src.predict.classifier import load_classifier
from src.predict.sheet import evidence, for_screen
from tests.test_pictures import png_header


def post(url: str, content: bytes, name: str = "photo.png") -> tuple[int, dict[str, Any]]:
    answer = requests.post(f"{url}predict", data=content, headers={"X-Name": name}, timeout=60)
    return answer.status_code, answer.json()


def pixels(address: str) -> np.ndarray:
    kind, _, content = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return decode_picture(io.BytesIO(base64.b64decode(content)), "it")


def test_a_picture_gets_its_classes_and_the_evidence_of_each_layer(
    url: str, weights: Path, photos: Path
) -> None:
    picture, classifier = read_picture(photos / "a.png"), load_classifier(weights)
    status, answer = post(url, (photos / "a.png").read_bytes(), "a.png")
    guesses = classifier.classify(picture)
    assert status == 200
    assert answer["name"] == "a.png"
    assert [c["name"] for c in answer["classes"]] == [guess.name for guess in guesses]
    said = [c["probability"] for c in answer["classes"]]
    assert said == pytest.approx([guess.probability for guess in guesses], abs=1e-5)
    shown = for_screen(picture, SMALL)
    # Three times as large as the picture of 90×60 pixels, up to what a JPEG loses.
    assert np.abs(pixels(answer["url"]).astype(int) - shown).mean() < 3
    cams = classifier.explain(picture, guesses[0].label)
    assert [layer["name"] for layer in answer["layers"]] == list(cams)
    for layer, cam in zip(answer["layers"], cams.values(), strict=True):
        assert layer["found"] == bool(cam.any())
        assert np.abs(pixels(layer["url"]).astype(int) - evidence(shown, cam)).mean() < 3


@pytest.mark.parametrize(
    ("size", "shown"),
    [((60, 90), (180, 270)), ((2000, 1000), (1024, 512)), ((3, 9000), (1, 1024))],
)
def test_a_picture_is_shown_in_a_size_for_a_screen(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert for_screen(np.zeros((*size, 3), np.uint8), SMALL).shape == (*shown, 3)


def test_what_is_no_picture_gets_a_sentence(url: str) -> None:
    status, answer = post(url, b"dear diary", "tr%C3%A4ume%0Aund mehr.txt")
    assert status == 422
    assert answer["error"].startswith("träume und mehr.txt: is no picture of a kind")
    status, answer = post(url, png_header(20_000, 20_000), "bomb.png")
    assert status == 422
    assert answer["error"].startswith("bomb.png: has 20,000×20,000 pixels, more than")
    assert post(url, b"")[0] == 422


def test_a_body_that_does_not_arrive_whole_gets_a_sentence(url: str) -> None:
    headers = {"X-Name": "photo.png", "Content-Encoding": "gzip"}
    answer = requests.post(f"{url}predict", data=b"no gzip", headers=headers, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"] == "photo.png: did not arrive whole; send it again"


def test_a_lost_connection_is_no_fault_of_the_server() -> None:
    """What aiohttp raises while it reads from whoever has gone away."""

    class Gone:
        headers: ClassVar = {"X-Name": "photo.png"}

        async def read(self) -> bytes:
            raise ConnectionResetError

    answer: web.Response = asyncio.run(predict_with(None)(Gone()))
    assert answer.status == 400


def test_who_goes_away_leaves_no_traceback(url: str, terminal: Path) -> None:
    before = terminal.read_text()
    host = url.removeprefix("http://").rstrip("/")
    name, port = host.split(":")
    with socket.create_connection((name, int(port))) as gone:
        head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99\r\n\r\n"
        gone.sendall(head.encode() + b"abc")
    # Pictures are looked at one after another, so this one after the other was given up.
    assert post(url, b"no picture")[0] == 422
    assert requests.get(url, timeout=60).status_code == 200
    assert terminal.read_text() == before


def test_too_large_a_file_gets_a_sentence(url: str) -> None:
    status, answer = post(url, bytes(MAX_BYTES + 1), "film.png")
    assert status == 413
    assert answer == {"error": "film.png: has more than 30 MB; make it smaller"}
    assert post(url, bytes(MAX_BYTES), "film.png")[0] == 422


def test_it_says_what_it_knows(url: str) -> None:
    about = requests.get(f"{url}about", timeout=60).json()
    assert about["classes"] == ["cat", "dog", "sea horse", "Ente"]
    assert about["caveat"].startswith("These probabilities are scaled by the temperature 2.5, ")
    assert about["max_bytes"] == MAX_BYTES


def test_only_its_own_page_is_answered(url: str, photos: Path) -> None:
    """DNS rebinding sends another name, a page of another site its origin."""
    port = url.rstrip("/").rpartition(":")[2]
    picture = (photos / "a.png").read_bytes()

    def status(**headers: str) -> int:
        return requests.post(f"{url}predict", data=picture, headers=headers, timeout=60).status_code

    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert status(Host=host) == 200
        assert status(Host=host, Origin=f"http://{host}") == 200
        assert status(Host=host, Origin="null") == 403
        assert status(Host=host, Origin="https://evil.example") == 403
        assert status(Host=host, Origin=f"http://{host}0") == 403
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
        assert status(Host=host) == 403
        assert status(Host=host, Origin=f"http://{host}") == 403
        assert requests.get(url, headers={"Host": host}, timeout=60).status_code == 403


@pytest.mark.parametrize(("port", "status"), [(80, 200), (8000, 403)])
def test_a_browser_leaves_out_the_port_of_http(port: int, status: int) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response()

    def answered(host: str, origin: str) -> int:
        headers = {"Host": host, "Origin": origin}
        request = make_mocked_request("POST", "/predict", headers=headers)
        return asyncio.run(only_from_here(port)(request, page)).status

    for name in ("127.0.0.1", "localhost"):
        assert answered(name, f"http://{name}") == status
        assert answered(f"{name}:{port}", f"http://{name}:{port}") == 200
        assert answered(name, "http://evil.example") == 403
    assert answered("evil.example", "http://evil.example") == 403


@pytest.mark.parametrize("path", ["", "page.css", "page.js", "about", "gone", "x.py", "predict"])
def test_every_answer_forbids_what_the_page_does_not_need(url: str, path: str) -> None:
    answer = requests.get(url + path, timeout=60)
    wanted = {"gone": 404, "x.py": 404, "predict": 405}
    assert answer.status_code == wanted.get(path, 200)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_it_listens_on_this_machine_alone() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        said = rf"port {port}: cannot be had \(Address already in use\); name another one"
        with pytest.raises(InputError, match=said):
            listen(port)
    with pytest.raises(InputError, match=r"port 70000: is not 0 to 65535; name another"):
        listen(70000)


def test_pictures_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is looked at, while the page is still sent."""
    running = []
    seen = threading.Event()

    def answer(_: object, content: bytes, name: str) -> dict[str, Any]:
        running.append(name)
        assert seen.wait(20)
        assert running == [name]
        running.clear()
        return {"bytes": len(content)}

    monkeypatch.setattr(server, "answer", answer)

    async def scenario() -> None:
        with listen(0) as listener:
            port = listener.getsockname()[1]
            runner = web.AppRunner(build(None, port))
            await runner.setup()
            await web.SockSite(runner, listener).start()
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession() as session:
                posts = [
                    asyncio.create_task(session.post(f"{url}/predict", data=bytes(size)))
                    for size in (1, 2, 3)
                ]
                await asyncio.sleep(0.05)
                async with session.get(f"{url}/page.css") as page:
                    assert page.status == 200
                assert not any(each.done() for each in posts)
                seen.set()
                assert [await (await each).json() for each in posts] == [
                    {"bytes": 1}, {"bytes": 2}, {"bytes": 3}
                ]  # fmt: skip
            await runner.cleanup()

    asyncio.run(scenario())


def test_a_large_photo_is_answered(url: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4000, 3000), (200, 30, 40)).save(file, "jpeg")
    status, answer = post(url, file.getvalue())
    assert status == 200
    assert pixels(answer["layers"][3]["url"]).shape == (768, 1024, 3)
