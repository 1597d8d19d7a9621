"""The HTTP server of the page: Gradio behind the gate; old uploads and dead connections end."""

import asyncio
import pathlib
import socket
import sys
import weakref
from collections.abc import Callable

import fastapi
import gradio
import uvicorn
from gradio import themes

from experiments.webpage import uploads
from experiments.webpage.access import Access
from experiments.webpage.gate import Gate, Limits

_FOLDER = pathlib.Path(__file__).parent
_MAX_CONNECTIONS = 512
_MAX_SESSIONS = 100
_CLEAN_SECONDS = 60
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]  # None from the network.


def serve(
    page: gradio.Blocks,
    listener: socket.socket,
    folder: pathlib.Path,
    *,
    access: Access,
    limits: Limits,
    on_start: Callable[[], None],
) -> None:
    """Serve `page` at the socket `listener` until SIGINT or SIGTERM.

    Args:
      folder: where Gradio puts uploads.
      on_start: is called once the page can be opened.
    """
    # `launch` has an argument for it. Each session takes 37 kB, and any request opens one.
    page.state_session_capacity = _MAX_SESSIONS
    app = gradio.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        page,
        path="/",
        theme=themes.Base(
            primary_hue="orange", font=_FONTS, font_mono=["ui-monospace", "monospace"]
        ),
        css_paths=[_FOLDER / "style.css"],
        head=f"<script>{(_FOLDER / 'page.js').read_text(encoding='utf-8')}</script>",
        max_file_size=limits.file_bytes,
        ssr_mode=False,
        run_history=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
    )
    config = uvicorn.Config(
        Gate(app, folder, access=access, limits=limits),
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    asyncio.run(_run(uvicorn.Server(config), listener, page, folder, limits, on_start))


async def _run(
    server: uvicorn.Server,
    listener: socket.socket,
    page: gradio.Blocks,
    folder: pathlib.Path,
    limits: Limits,
    on_start: Callable[[], None],
) -> None:
    jobs = [
        asyncio.create_task(_clean(page, folder, partial_age=2 * limits.body_seconds)),
        asyncio.create_task(_close_silent(server, limits.stall_seconds)),
    ]
    serving = asyncio.create_task(server.serve([listener]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.05)
    if server.started:
        on_start()
    await serving
    for job in jobs:
        job.cancel()


async def _clean(page: gradio.Blocks, folder: pathlib.Path, *, partial_age: float) -> None:
    """Delete old uploads again and again, whatever goes wrong with one of them.

    Gradio's own task ends with the first error, and knows nothing of uploads that broke off.
    """
    while True:
        try:
            await asyncio.to_thread(uploads.delete_old, folder, partial_age=partial_age)
            for files in page.temp_file_sets:  # Gradio's notes of its files.
                files -= {file for file in files if not pathlib.Path(file).exists()}
        except Exception as error:
            print(f"uploads   {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        await asyncio.sleep(_CLEAN_SECONDS)


async def _close_silent(server: uvicorn.Server, seconds: float) -> None:
    """Close connections on which nothing has happened for so many seconds, but for slow answers.

    The server itself waits without end for the rest of a request's head, and for a client that
    does not read its answer.
    """
    now = asyncio.get_running_loop().time
    silent = weakref.WeakKeyDictionary()  # Connection -> since when, and bytes left to send.
    while True:
        await asyncio.sleep(seconds / 4)
        for connection in list(server.server_state.connections):
            try:
                cycle = getattr(connection, "cycle", None)
                unsent = connection.transport.get_write_buffer_size()
                is_answered = cycle is not None and not cycle.response_complete
                since, before = silent.get(connection, (now(), unsent))
                if (is_answered and not unsent) or unsent != before:
                    silent.pop(connection, None)
                elif now() - since > seconds:
                    connection.transport.abort()
                else:
                    silent[connection] = since, unsent
            except Exception as error:  # Of this connection; the others are watched on.
                print(f"page      {type(error).__name__}: {error}", file=sys.stderr, flush=True)
