"""The server: one page, for browsers on this machine only.

It listens on 127.0.0.1. Other sites that the browser has open can send requests there, too: so it
answers only under its own name, to its own page, and no other site may read or frame it.
"""

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from src.app.answer import about, answer
from src.pipeline.errors import InputError
from src.predict.classifier import Classifier

ADDRESS, HTTP_PORT, LAST_PORT = "127.0.0.1", 80, 65535
MAX_BYTES = 30 * 2**20
PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine; InputError where the port cannot be had."""
    other = "name another one with --port (`make app PORT=8001`)"
    if not 0 <= port <= LAST_PORT:
        raise InputError(f"port {port}: is not 0 to {LAST_PORT}; {other}")
    try:
        return socket.create_server((ADDRESS, port))
    except OSError as error:
        # Its own words name the address too.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"port {port}: cannot be had ({reason}); {other}") from error


def serve(classifier: Classifier, listener: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    app = build(classifier, listener.getsockname()[1])
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=1)


def build(classifier: Classifier, port: int) -> web.Application:
    """The application: the page's files, what it says at first, and its answer to a picture."""
    app = web.Application(middlewares=[only_from_here(port)], client_max_size=MAX_BYTES)
    app.on_response_prepare.append(add_headers)
    for address, (name, kind) in FILES.items():
        app.router.add_get(address, page_file(PAGE / name, kind))

    async def say_about(_: web.Request) -> web.Response:
        return web.json_response(about(classifier, MAX_BYTES))

    app.router.add_get("/about", say_about)
    app.router.add_post("/predict", predict_with(classifier))
    return app


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def only_from_here(port: int) -> Middleware:
    """Refuse what was sent to another name (DNS rebinding) or by another site's page."""
    names = {ADDRESS, "localhost"}
    hosts = {f"{name}:{port}" for name in names}
    # Browsers leave this port out.
    hosts |= names if port == HTTP_PORT else set()

    @web.middleware
    async def refuse_others(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", f"http://{request.host}")
        if request.host not in hosts or origin != f"http://{request.host}":
            return fault(403, f"only the page http://{ADDRESS}:{port}/ is answered here")
        return await handler(request)

    return refuse_others


def page_file(path: Path, kind: str) -> Handler:
    async def send(_: web.Request) -> web.Response:
        return web.Response(text=path.read_text(encoding="utf8"), content_type=kind)

    return send


def predict_with(classifier: Classifier) -> Handler:
    """The answer to a picture file in a request's body, under the name in its header X-Name."""
    # One thread: pictures wait for each other, and the page is sent meanwhile.
    alone = ThreadPoolExecutor(1)

    async def reply(request: web.Request) -> web.Response:
        name = " ".join(unquote(request.headers.get("X-Name", "the picture")).split())
        try:
            content = await request.read()
            work = partial(answer, classifier, content, name)
            return web.json_response(await asyncio.get_running_loop().run_in_executor(alone, work))
        # Whoever has gone away gets no answer, and the terminal no traceback.
        except (ConnectionError, web.RequestPayloadError):
            return fault(400, f"{name}: did not arrive whole; send it again")
        except web.HTTPRequestEntityTooLarge:
            return fault(413, f"{name}: has more than {MAX_BYTES // 2**20} MB; make it smaller")
        except InputError as error:
            return fault(422, str(error))

    return reply


def fault(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
