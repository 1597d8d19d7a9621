"""Remake the pictures of the README: `python -m experiments.benchmarks.pictures --folder=DIR`.

`page.png` is the web page with its answer for a medley by the embedded band. With `--report=FILE`,
a `report.html` of `evaluate`, `report.png` is the head and four figures of it. Needs the extra
`app`, Playwright (`pip install playwright`) and Chromium.
"""

import contextlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import soundfile
from absl import flags
from PIL import Image

from experiments import command
from mgr_jax.data.band import render

_FOLDER = flags.DEFINE_string("folder", ".", "Folder for the pictures.")
_REPORT = flags.DEFINE_string("report", None, "A report.html; none is drawn without it.")
_MAX_BYTES = 200_000
_WIDTH, _RATE = 1280, 22_050
# Hides the tables of a report, which would be too small to read, and all but four figures.
_FIGURES_ALONE = (
    ".wide, main > p, details, h2:not(:has(+ .figures)), .figures > :nth-child(n + 5)"
    " { display: none }"
)
_MEDLEY = ("jazz/0/0", "jazz/1/0", "disco/0/0", "jazz/2/0")


def main(argv: Sequence[str]) -> int:
    """Write the pictures; return the exit code."""
    command.refuse_arguments(argv)
    folder = pathlib.Path(_FOLDER.value)
    song = folder / "jazz with disco in it.wav"
    paths = [f"band:{render.VERSION}/860142/{name}" for name in _MEDLEY]
    parts = [render.render(path, sample_rate=_RATE, seconds=30) for path in paths]
    soundfile.write(song, np.concatenate(parts), _RATE)
    try:
        with _page() as address, _browser() as browser:
            page = browser.new_page(viewport={"width": _WIDTH, "height": 900})
            page.goto(address)
            page.set_input_files("#song input[type=file]", song)
            page.wait_for_selector("#answer .bars", timeout=300_000)
            page.wait_for_function("document.querySelector('#song audio')?.readyState == 4")
            page.locator(".seek").evaluate("e => { e.value = 71; e.dispatchEvent(new Event('input',"
                                           " { bubbles: true })); }")  # fmt: skip
            page.wait_for_timeout(1000)  # The line moves, and what is new fades in.
            (folder / "page.png").write_bytes(shrink(page.screenshot(full_page=True)))
            if _REPORT.value is not None:
                page.goto(pathlib.Path(_REPORT.value).resolve().as_uri())
                page.add_style_tag(content=_FIGURES_ALONE)
                (folder / "report.png").write_bytes(shrink(page.screenshot(full_page=True)))
    finally:
        song.unlink()
    return 0


def shrink(png: bytes, max_bytes: int = _MAX_BYTES) -> bytes:
    """Return a PNG of the same picture with as many colours as fit into `max_bytes`.

    Raises:
      ValueError: if it has more bytes even with 16 colours.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colors in (256, 128, 64, 32, 16):
        file = io.BytesIO()
        picture.quantize(colors, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        if file.tell() <= max_bytes:
            return file.getvalue()
    raise ValueError(f"the picture has {file.tell()} bytes with 16 colours, above {max_bytes}")


@contextlib.contextmanager
def _page() -> Iterator[str]:
    """Serve the page in a process of its own; yield its address."""
    arguments = [sys.executable, "-m", "experiments.app", "--port=0"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield next(line for line in process.stdout if line.startswith("page ")).split()[1]
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def _browser() -> Iterator[Any]:
    from playwright import sync_api

    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_api.sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=binary, args=sandbox)
        yield browser
        browser.close()


if __name__ == "__main__":
    command.run(main)
