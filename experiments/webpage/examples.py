"""Example songs for visitors without one: the embedded band, rendered when they are requested."""

import os
import pathlib
import threading

import soundfile

from mgr_jax.data.band import render

STYLES = ("classical", "disco", "hiphop", "jazz", "metal", "reggae")
_SAMPLE_RATE, _SECONDS = 22_050, 30.0
# A seed of no config, so that no model has learned from these very songs.
_PATH = f"band:{render.VERSION}/860142/{{}}/0/0"
_lock = threading.Lock()


def write(folder: pathlib.Path, style: str, *, max_seconds: float) -> str:
    """Write the example of a style to `folder` as a WAV file unless it is there; return its path.

    `uploads.delete_old` deletes it an hour after its last use.
    """
    path = folder / "examples" / f"{style}, played by a program.wav"
    seconds = min(_SECONDS, max_seconds)
    with _lock:
        path.parent.mkdir(exist_ok=True)
        os.utime(path.parent)
        try:
            os.utime(path)
        except FileNotFoundError:
            audio = render.render(_PATH.format(style), sample_rate=_SAMPLE_RATE, seconds=seconds)
            part = path.with_suffix(".part")  # A full disk leaves no short song behind.
            soundfile.write(part, audio, _SAMPLE_RATE, subtype="PCM_16", format="WAV")
            part.replace(path)
    return str(path)
