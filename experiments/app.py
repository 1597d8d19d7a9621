"""Serve a web page for a trained system: `python -m experiments.app [--workdir=DIR]`.

Without a workdir the GTZAN model of the package answers.
Needs the extra `app` (`pip install -e '.[app]'`). Ctrl-C ends it.
"""

import importlib.util
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments import command, jax_settings
from mgr_jax.escape import printable

if TYPE_CHECKING:
    import pathlib

    from mgr_jax.predictor import Predictor

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or a bundle.")
_MODEL = flags.DEFINE_string(
    "model", "gtzan", "gtzan, which comes with the package, or the folder of a run or a bundle."
)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 is all.")
_PORT = flags.DEFINE_integer("port", 7860, "Port; 0 takes a free one.", 0, 65535)
_TOKEN = flags.DEFINE_bool("token", False, "Admit only visitors with the printed link.")
_ALLOW_HOSTS = flags.DEFINE_list(
    "allow_hosts", [], "Further host names under which browsers reach the page, such as a proxy's."
)
_MAX_MB = flags.DEFINE_float("max_mb", 50, "Largest file to accept, in MiB.", 0.001)
_MAX_TOTAL_MB = flags.DEFINE_float(
    "max_total_mb", 1000, "All uploads on disk, in MiB; each is deleted after an hour.", 0.001
)
_MAX_MINUTES = flags.DEFINE_float(
    "max_minutes", 20, "Longest song to accept, in minutes.", 0.001, 240
)


def main(argv: Sequence[str]) -> command.Ending:
    """Serve the page until it is interrupted; return how it ended."""
    command.refuse_arguments(argv)
    if importlib.util.find_spec("gradio") is None:
        raise command.UserError("the page needs Gradio; pip install -e '.[app]'")
    if _MAX_TOTAL_MB.value < _MAX_MB.value + 1:
        raise command.UserError(
            f"--max_total_mb is {_MAX_TOTAL_MB.value:g}; give at least 1 more than --max_mb"
        )
    name = command.model_path(_WORKDIR.value, _MODEL.value, ("gtzan",))

    from experiments.webpage import uploads
    from mgr_jax import predictor as predictor_lib
    from mgr_jax import progress

    began = time.monotonic()
    flag = f"--workdir={name}" if _WORKDIR.value is not None else f"--model={name}"

    # Listens first, so that a port in use is refused before the model is loaded.
    with _listen(_HOST.value, _PORT.value) as listener, uploads.open_folder() as folder:
        jax_settings.set_up()
        with progress.Progress("load", "the model"):
            predictor = predictor_lib.load(name, checkpoint_name=_CHECKPOINT.value)
        # Gradio reads settings from the environment that would expose more than the page.
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            del os.environ[name]
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        os.environ["HF_HUB_OFFLINE"] = "1"
        _serve(predictor, folder, listener, began)
    return command.Ending(0, ("predict", flag, "SONG.mp3"))


def _serve(
    predictor: "Predictor", folder: "pathlib.Path", listener: socket.socket, began: float
) -> None:
    """Serve the page; `began` is when the command was started, by the monotonic clock."""
    from experiments.webpage import about, access, gate, server
    from experiments.webpage import page as page_lib
    from mgr_jax import devices, progress
    from mgr_jax import tagger as tagger_lib

    tagger = None
    if about.reads_musicnn(predictor):
        tagger = tagger_lib.load(readers=predictor.decoders)
    page = page_lib.make_page(
        predictor, tagger, folder, max_mb=_MAX_MB.value, max_minutes=_MAX_MINUTES.value
    )
    print(devices.describe(), file=sys.stderr, flush=True)
    with progress.Progress("compile", "the model"):
        page_lib.warm_up(predictor, tagger)
    token = secrets.token_urlsafe(16) if _TOKEN.value else ""
    if warning := _warning(_HOST.value, token):
        print(warning, file=sys.stderr)

    def announce() -> None:
        port = listener.getsockname()[1]
        # A browser cannot go to a wildcard.
        host = "localhost" if _HOST.value in ("0.0.0.0", "::") else _HOST.value
        host = f"[{host}]" if ":" in host else host
        print(f"page      http://{host}:{port}/{f'?token={token}' * bool(token)}", flush=True)
        print(f"model     {printable(predictor.describe())}", flush=True)
        seconds = progress.duration(time.monotonic() - began)
        print(f"ready     after {seconds}; Ctrl-C ends it", file=sys.stderr, flush=True)

    # The server handles both signals, and raises them again once it has ended.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.serve(
            page,
            listener,
            folder,
            access=access.make_access(_HOST.value, allow_hosts=_ALLOW_HOSTS.value, token=token),
            limits=gate.Limits(round(_MAX_MB.value * 2**20), round(_MAX_TOTAL_MB.value * 2**20)),
            on_start=announce,
        )
    except KeyboardInterrupt:
        print("stopped", flush=True)


def _warning(host: str, token: str) -> str:
    """Return a warning if everybody can use the page, else nothing."""
    from experiments.webpage import access

    if token or access.is_loopback(host):
        return ""
    return (
        f"warning: --host={host} lets everybody who reaches this machine use the page; --token"
        " keeps it to those who have the link"
    )


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port`; raise `UserError` if it cannot be."""
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen()
    except OSError as error:
        server.close()
        raise command.UserError(
            f"--host {host} --port {port}: cannot be listened at ({error.strerror or error});"
            " give another port, or 0 for a free one"
        ) from error
    return server


if __name__ == "__main__":
    command.run(main)
