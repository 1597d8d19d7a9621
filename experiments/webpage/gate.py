"""A filter in front of the page's server, which passes only the requests that the page needs.

Gradio serves more than a page: a proxy, an API with its description, and predictions on files named
by a URL, which it would fetch from the network. The filter refuses all of that.
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
    # The browser, too, fetches nothing from elsewhere.
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
      app: the wrapped application.
      folder: the folder of uploads; a request may name only files below it.
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
        allowed = {"GET": _PAGES, "HEAD": _PAGES, "POST": _POSTS}.get(method)
        if allowed is None or not allowed.fullmatch(path):
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
    """Yield every file that a request names, at any depth; "/" for a path that is no string."""
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
    """Return the body of a request; None if it is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY or message["type"] != "http.request":
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive):
    """Return a `receive` that yields the body that has been read, then goes on with `receive`."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return pending.pop() if pending else await receive()

    return replayed


async def _refuse(send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
