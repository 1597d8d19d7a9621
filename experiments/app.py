"""Serve a web page for a trained system: `python -m experiments.app [--workdir=DIR]`.

Without a workdir the GTZAN model of the package answers.
Needs the extra `app` (`pip install -e '.[app]'`). Ctrl-C ends it.
"""

import importlib.util
import os
import pathlib
import signal
import socket
import tempfile
import threading
from collections.abc import Sequence

from absl import flags

from experiments import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or a bundle.")
_MODEL = flags.DEFINE_string(
    "model", "gtzan", "gtzan, which comes with the package, or the folder of a run or a bundle."
)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 is all.")
_PORT = flags.DEFINE_integer("port", 7860, "Port; 0 takes a free one.", 0, 65535)
_MAX_MB = flags.DEFINE_float("max_mb", 50, "Largest file to accept, in MiB.", 0.001)
_MAX_MINUTES = flags.DEFINE_float(
    "max_minutes", 20, "Longest song to accept, in minutes.", 0.001, 240
)


def main(argv: Sequence[str]) -> int:
    """Serve the page until it is interrupted; return the exit code."""
    command.refuse_arguments(argv)
    if importlib.util.find_spec("gradio") is None:
        raise command.UserError("the page needs Gradio; pip install -e '.[app]'")
    name = command.model_path(_WORKDIR.value, _MODEL.value, ("gtzan",))
    port = _free_port(_HOST.value, _PORT.value)

    from mgr_jax import predictor as predictor_lib

    command.set_up_jax()
    predictor = predictor_lib.load(name, checkpoint_name=_CHECKPOINT.value)
    with tempfile.TemporaryDirectory(prefix="mgr_jax_app_") as folder:
        # Gradio reads settings from the environment that would expose more than the page.
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            del os.environ[name]
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["HF_HUB_OFFLINE"] = "1"
        return _serve(predictor, folder, port)


def _serve(predictor, folder: str, port: int) -> int:
    from gradio import themes
    from starlette.middleware import Middleware

    from experiments.webpage import gate
    from experiments.webpage import page as page_lib

    page = page_lib.make_page(predictor, max_mb=_MAX_MB.value, max_minutes=_MAX_MINUTES.value)
    page_lib.warm_up(predictor)
    stop_signal = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_signal.set())
    fonts = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]  # None from the network.
    _, url, _ = page.launch(
        server_name=_HOST.value,
        server_port=port,
        theme=themes.Base(
            primary_hue="orange", font=fonts, font_mono=["ui-monospace", "monospace"]
        ),
        css_paths=[pathlib.Path(page_lib.__file__).with_name("style.css")],
        max_file_size=round(_MAX_MB.value * 2**20),
        app_kwargs={"middleware": [Middleware(gate.Gate, folder=folder)]},
        share=False,
        inbrowser=False,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        run_history=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
    )
    print(f"page      {url}", flush=True)
    print(f"model     {predictor.describe()}", flush=True)
    try:
        stop_signal.wait()
    except KeyboardInterrupt:
        print("stopped", flush=True)
    page.close()
    return 0


def _free_port(host: str, port: int) -> int:
    """Return `port`, or a free one for 0; raise `UserError` if it cannot be listened at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, port))
            return server.getsockname()[1]
    except OSError as error:
        raise command.UserError(
            f"--host {host} --port {port}: cannot be listened at ({error.strerror or error});"
            " give another port, or 0 for a free one"
        ) from error


if __name__ == "__main__":
    command.run(main)
