"""A server on 127.0.0.1, the only one that the tests speak to."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.sources.tiny_archive import ARCHIVE, NAME, SOURCE


def send(handler, status=200, body=ARCHIVE, length=None, **headers):
    """Answer with the body, whatever was asked; `length` is what the header claims."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(length or len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def cut(sent=30_000, **headers):
    """An answer that breaks off."""
    return lambda handler: send(handler, body=ARCHIVE[:sent], length=len(ARCHIVE), **headers)


def send_rest(handler):
    """Answer a request for the rest with the rest."""
    begun = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    place = f"bytes {begun}-{len(ARCHIVE) - 1}/{len(ARCHIVE)}"
    send(handler, 206, ARCHIVE[begun:], Content_Range=place)


@contextmanager
def serving(*answers):
    """A Source at a server that gives each answer in turn, the last for ever.

    Yields (source, asked): `asked` grows by the headers of each request.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers) | {"path": self.path})
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
