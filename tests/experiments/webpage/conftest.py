"""A running page, songs, and what the library says of them."""

import signal

import numpy as np
import pytest
import soundfile

from mgr_jax import predictor as predictor_lib
from tests.experiments import commands

# Runs in the server and in every process that it starts: logs and refuses their network access.
WATCH = """
import os, sys
def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in ("127.0.0.1", "::1", "localhost", None):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError(f"no network: {host}")
sys.addaudithook(watch)
"""


@pytest.fixture(name="server", scope="package")
def _server(cache, trained, tmp_path_factory):
    """Address of the page, and the folder with the log of its server's network access."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "mgr_jax_app_killed" / "hash").mkdir(parents=True)  # Left by an earlier page.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("NETWORK_LOG", str(folder / "network.log"))
        patch.setenv("GRADIO_ALLOWED_PATHS", "/")
        patch.setenv("TMPDIR", str(folder))
        limits = ("--max_mb=1", "--max_minutes=0.1")
        process = commands.start(cache, "app", f"--workdir={trained}", "--port=0", *limits)
    try:
        for line in process.stdout:
            if line.startswith("page "):
                address = line.split()[1]
                break
        else:
            pytest.fail(process.stderr.read())
        (folder / "pid").write_text(str(process.pid))
        yield address, folder
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err, err
    assert not list(folder.glob("mgr_jax_app_*")), "uploads are left behind"
    assert not (folder / "network.log").exists(), (folder / "network.log").read_text()


@pytest.fixture(name="songs", scope="package")
def _songs(tmp_path_factory):
    """Three songs of different kinds, and files that are none."""
    folder, random = tmp_path_factory.mktemp("songs"), np.random.default_rng(0)
    time = np.arange(3 * 8000) / 8000
    noise = 0.1 * random.normal(size=time.size)
    soundfile.write(folder / "noise.wav", noise, 8000)
    soundfile.write(folder / "tone.mp3", 0.3 * np.sin(2 * np.pi * 440 * time) + 0.01 * noise, 16000)
    soundfile.write(folder / "tone.aiff", 0.3 * np.sin(2 * np.pi * 440 * time), 8000)
    soundfile.write(folder / "sweep.flac", 0.3 * np.sin(900 * time**2), 8000)
    soundfile.write(folder / "silence.wav", np.zeros(8000), 8000)
    soundfile.write(folder / "long.ogg", 0.1 * random.normal(size=8000 * 8), 8000)
    (folder / "text.wav").write_text("This is a letter.\n" * 20)
    soundfile.write(folder / "large.wav", 0.1 * random.normal(size=600_000), 48_000)
    return folder


@pytest.fixture(name="expected", scope="package")
def _expected(trained, songs):
    """Song -> label -> probability, by the library."""
    loaded = predictor_lib.load(str(trained))
    names = ("noise.wav", "tone.mp3", "sweep.flac")
    return {name: loaded.predict(str(songs / name)).probabilities for name in names}
