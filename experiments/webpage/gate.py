"""What the page's server lets pass: the few addresses that the page needs, and no more.

Gradio serves more than a page: a proxy, an API with its description, and predictions on files named
by an address, which it would fetch from the network. None of that gets through.
"""

import json
import os
import pathlib
import re
from typing import Any

# Bytes of a request other than an upload.
MAX_BODY = 1 << 16

_PAGES = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|static/.*|assets/.*|svelte/.*"
    r"|gradio_api/(theme\.css|app_id|startup-events|upload_progress|queue/data"
    r"|heartbeat/[^/]*|file=.*))?"
)
_POSTS = re.compile(r"/gradio_api/(upload|queue/join|cancel|reset)")

_HEADERS = [
    # The browser, too, is told to fetch nothing from elsewhere.
    (
        b"content-security-policy",
        b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
        b" style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Gate:
    """ASGI middleware around the page.

    Args:
      app: the application within.
      folder: where uploads lie; only files below it may be named in a request.
    """

    def __init__(self, app, folder: str):
        self._app, self._folder = app, pathlib.Path(folder).resolve()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope, receive, send) -> None:
        path, method = scope["path"], scope["method"]
        wanted = {"GET": _PAGES, "HEAD": _PAGES, "POST": _POSTS}.get(method)
        if wanted is None or not wanted.fullmatch(path):
            await _refuse(send, 404, "there is no such page")
            return
        if path.startswith("/gradio_api/file=") and not self._is_inside(path.partition("=")[2]):
            await _refuse(send, 403, "no file outside of the upload folder is shown")
            return
        if method == "POST" and not path.endswith("/upload"):
            body = await _read(receive)
            if body is None or not self._is_harmless(body):
                await _refuse(send, 403, "the request is too large or names a file elsewhere")
                return
            receive = _replay(body, receive)

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _is_inside(self, name: str) -> bool:
        try:
            return pathlib.Path(os.path.realpath(name)).is_relative_to(self._folder)
        except ValueError:  # A null character.
            return False

    def _is_harmless(self, body: bytes) -> bool:
        try:
            return all(self._is_inside(name) for name in _paths(json.loads(body or b"{}")))
        except (ValueError, RecursionError):
            return False


def _paths(value: Any):
    """Every file that a request names, however deep; what is no string is no file either."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "path" and item is not None:
                yield item if isinstance(item, str) else "/"
            else:
                yield from _paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)


async def _read(receive) -> bytes | None:
    """The body of a request; None if it is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY or message["type"] != "http.request":
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive):
    """`receive` again, for the application within."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return waiting.pop() if waiting else await receive()

    return replayed


async def _refuse(send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
