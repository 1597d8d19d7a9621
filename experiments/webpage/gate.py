"""A filter in front of the page's server, which passes only the requests that the page needs.

Gradio serves more than a page: a proxy, an API with its description, and predictions on files named
by a URL, which it would fetch from the network. The filter refuses all of that, requests from other
sites, and more uploads than the disk shall hold; and it ends requests that stall.
"""

import asyncio
import dataclasses
import json
import os
import pathlib
import re
import sys
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, HTTPConnection

from experiments.webpage import uploads
from experiments.webpage.access import Access
from mgr_jax.escape import printable

# Bytes of a request other than an upload, and of an upload beside its file.
MAX_BODY = 1 << 16

_PAGES = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|static/.*|assets/.*|svelte/.*"
    r"|gradio_api/(theme\.css|app_id|startup-events|upload_progress|queue/data"
    r"|heartbeat/[^/]*|file=.*))?"
)
_UPLOAD = "/gradio_api/upload"
_POSTS = re.compile(rf"{_UPLOAD}|/gradio_api/(queue/join|cancel|reset)")

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


@dataclasses.dataclass(frozen=True)
class Limits:
    """What visitors may take.

    Attributes:
      file_bytes: size of an upload, which is one file.
      total_bytes: size of all uploads on disk.
      stall_seconds: silence after which a request ends. body_seconds: time for the body of one.
    """

    file_bytes: int
    total_bytes: int
    stall_seconds: float = 30.0
    body_seconds: float = 600.0


class Gate:
    """ASGI application around that of the page.

    Args:
      app: the wrapped application.
      folder: the folder of uploads; a request may name only files below it.
    """

    def __init__(self, app, folder: str | os.PathLike, *, access: Access, limits: Limits):
        self._app, self._folder = app, pathlib.Path(folder).resolve()
        self._access, self._limits = access, limits
        self._reserved = 0  # Bytes that the uploads under way may still write.

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._answer(scope, receive, _with_headers(send))
            except ClientDisconnect:  # Nobody is there to be answered.
                pass
            except Exception as error:  # The application has answered that it failed.
                line = f"{scope['method']} {scope['path'][:100]}: {type(error).__name__}: {error}"
                print(f"failed    {printable(line)[:300]}", file=sys.stderr, flush=True)

    async def _answer(self, scope, receive, send) -> None:
        request, path, method = HTTPConnection(scope), scope["path"], scope["method"]
        status, reason = self._access.check(request)
        if status == 401 and (method, path) == ("GET", "/"):
            token = request.query_params.get("token", "")
            if self._access.is_token(token):
                # The link leads to the page itself, without the token in its address.
                cookie = f"{self._access.cookie}={token}; Path=/; HttpOnly; SameSite=Lax"
                links = (b"location", b"/"), (b"set-cookie", cookie.encode())
                await _reply(send, 303, "", *links)
                return
        if status != 200:
            await _reply(send, status, reason)
            return
        allowed = {"GET": _PAGES, "HEAD": _PAGES, "POST": _POSTS}.get(method)
        if allowed is None or not allowed.fullmatch(path):
            await _reply(send, 404, "there is no such page")
        elif path.startswith("/gradio_api/file=") and not self._is_upload(path.partition("=")[2]):
            await _reply(send, 403, "no file other than an upload is shown")
        elif path == _UPLOAD:
            await self._upload(request, receive, send)
        elif method == "POST":
            body = await self._read(receive)
            if body is None or not self._is_harmless(body):
                await _reply(send, 403, "the request is too large or names no upload")
            else:
                await self._app(scope, _replay(body, receive), send)
        else:
            await self._app(scope, receive, send)

    async def _upload(self, request: HTTPConnection, receive, send) -> None:
        """Pass one file on, as long as the folder has room for it and its bytes keep coming."""
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            await _reply(send, 400, "an upload is a form with one file")
            return
        length, largest = request.headers.get("content-length", ""), self._limits.file_bytes
        size = int(length) if length.isdecimal() else largest + MAX_BODY
        if size > largest + MAX_BODY:
            await _reply(send, 413, f"the file is larger than {largest} bytes")
            return
        self._reserved += size
        try:
            used = await asyncio.to_thread(uploads.disk_usage, self._folder)
            if used + self._reserved > self._limits.total_bytes:
                await _reply(send, 507, "the page has no room for more songs; try again in an hour")
                return
            await self._pass(request.scope, _Body(receive, self._limits, boundary), send)
        finally:
            self._reserved -= size

    async def _pass(self, scope, body: "_Body", send) -> None:
        """Pass an upload on; if it broke a limit, the answer is the reason."""

        async def send_unless_refused(message) -> None:
            if body.refusal is None:
                await send(message)

        try:
            await self._app(scope, body.receive, send_unless_refused)
        except Exception:
            if body.refusal is None:
                raise
        if body.refusal is not None:
            await _reply(send, *body.refusal)

    async def _read(self, receive) -> bytes | None:
        """Return the body of a request; None if it is too large, stalls or breaks off."""
        limited = _Body(receive, dataclasses.replace(self._limits, file_bytes=0))
        content = b""
        while True:
            message = await limited.receive()
            if message["type"] != "http.request":
                return None
            content += message.get("body", b"")
            if not message.get("more_body"):
                return content

    def _is_upload(self, name: str) -> bool:
        try:
            path = pathlib.Path(os.path.realpath(name))
            return path.is_relative_to(self._folder) and path.is_file()
        except (ValueError, OSError):  # A null character, or a name that is too long.
            return False

    def _is_harmless(self, body: bytes) -> bool:
        """Return whether a request is an object whose data are uploads, or nothing, alone."""
        try:
            content = json.loads(body)
            songs = [item for item in content.get("data") or [] if item is not None]
            named = all(isinstance(song, dict) and "path" in song for song in songs)
            return named and all(self._is_upload(name) for name in _paths(content))
        except (ValueError, RecursionError, AttributeError, TypeError):
            return False


class _Body:
    """The body of a request, which ends where it breaks a limit; `refusal` then says which."""

    def __init__(self, receive, limits: Limits, boundary: bytes = b""):
        self.refusal: tuple[int, str] | None = None
        self._receive, self._limits = receive, limits
        self._delimiter, self._tail, self._delimiters = b"--" + boundary, b"", 0
        self._size, self._is_complete = 0, False
        self._end = asyncio.get_running_loop().time() + limits.body_seconds

    async def receive(self) -> dict[str, Any]:
        """Return the next message of the client, or its disconnection once a limit is broken."""
        if self._is_complete:  # The client only waits for the answer, and may do so for long.
            return await self._receive()
        left = self._end - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), min(left, self._limits.stall_seconds))
        except TimeoutError:
            return self._refuse(408, "the request has stalled")
        content = message.get("body", b"")
        self._size += len(content)
        self._is_complete = not message.get("more_body")
        if self._size > self._limits.file_bytes + MAX_BODY:
            return self._refuse(413, f"the file is larger than {self._limits.file_bytes} bytes")
        # A delimiter stands before every part and at the end.
        if len(self._delimiter) > 2:
            searched = self._tail + content
            self._delimiters += searched.count(self._delimiter)
            self._tail = searched[1 - len(self._delimiter) :]
            if self._delimiters > 2:
                return self._refuse(400, "an upload is a form with one file")
        return message

    def _refuse(self, status: int, reason: str) -> dict[str, Any]:
        self.refusal = status, reason
        return {"type": "http.disconnect"}


def _paths(value: Any):
    """Yield every file that a request names, at any depth; "/" for a path that is no string."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "path":
                yield item if isinstance(item, str) else "/"
            else:
                yield from _paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)


def _replay(body: bytes, receive):
    """Return a `receive` that yields the body that has been read, then goes on with `receive`."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return pending.pop() if pending else await receive()

    return replayed


def _with_headers(send):
    """Return a `send` that adds the headers of the gate to each response."""

    async def send_with_headers(message):
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return send_with_headers


async def _reply(send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    # The rest of the request is not read, so that the connection has to close.
    plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *headers]})
    await send({"type": "http.response.body", "body": text.encode()})
