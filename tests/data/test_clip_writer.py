"""Decoding into a clip store in several processes, which are killed, crash and compete."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mgr_jax.data import clip_writer, decoders, ffmpeg
from mgr_jax.data.catalog import Catalog
from tests.data.clip_files import assert_same, make_catalog, open_store, write_tracks

# Decodes argv[1] into argv[2]; every decoding is logged and slow, and `crash.wav` ends its process.
_DECODER = """
import os, sys, time
from mgr_jax.data import audio, decoder
cache, delay = sys.argv[1], float(sys.argv[2])
stream = audio.stream

def slow(path, **kwargs):
    with open(cache + ".log", "a") as log:
        log.write(os.path.basename(path) + "\\n")
    time.sleep(delay)
    if "crash" in path:
        os._exit(1)
    return stream(path, **kwargs)

audio.stream = slow
decoder.main()
"""
_SCRIPT = """
import os, sys
from mgr_jax.data import clips, decoders
from mgr_jax.data.catalog import Catalog, Track

root, cache, workers, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
decoders._COMMAND = (sys.executable, "-c", sys.argv[5], cache, delay)
names = sorted(os.listdir(root))
tracks = tuple(Track(name, os.path.join(root, name), "x") for name in names)
catalog = Catalog("folder", tracks, ("x",))
store = clips.open_clips(
    catalog, sample_rate=8000, clip_samples=4000, cache=cache, num_workers=workers
)
print(store.folder)
"""


def _start(tmp_path, *, workers, delay, cache="cache"):
    path = tmp_path / "script.py"
    path.write_text(_SCRIPT)  # Without a main guard.
    root, store = str(tmp_path / "tracks"), str(tmp_path / cache)
    command = [sys.executable, str(path), root, store, str(workers), str(delay), _DECODER]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _finish(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def _decoded(tmp_path, cache="cache"):
    path = tmp_path / f"{cache}.log"
    return path.read_text().split() if path.exists() else []


def _wait_for(tmp_path, count):
    """Wait until decoding of `count` tracks has started."""
    deadline = time.monotonic() + 30
    while len(_decoded(tmp_path)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_open_clips_gives_the_same_with_any_number_of_processes(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 7)
    alone = []
    for track in catalog.tracks:
        one = Catalog("folder", (track,), ("x",))
        alone.append(open_store(one, tmp_path / "alone"))
    parallel = open_store(catalog, tmp_path / "parallel", num_workers=2)
    np.testing.assert_array_equal(parallel.samples, np.concatenate([s.samples for s in alone]))
    assert parallel.records == tuple(store.records[0] for store in alone)


@pytest.mark.e2e
def test_open_clips_resumes_after_a_kill(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 16)
    process = _start(tmp_path, workers=2, delay=0.15)
    _wait_for(tmp_path, 7)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [log] = (tmp_path / "cache").rglob("progress.jsonl")
    done = {json.loads(line)["id"] for line in log.read_text().splitlines() if line}
    assert 1 <= len(done) < 16
    with open(log, "a") as file:  # As if the kill had cut a line.
        file.write('\n{"id": "15.wav", "len')
    (tmp_path / "cache.log").unlink()

    folder = _finish(_start(tmp_path, workers=2, delay=0))
    assert sorted(_decoded(tmp_path)) == sorted({t.id for t in catalog.tracks} - done)
    resumed = open_store(catalog, tmp_path / "cache")
    assert str(resumed.folder) == folder
    assert_same(resumed, open_store(catalog, tmp_path / "unbroken"))


@pytest.mark.e2e
def test_workers_end_with_the_process_that_started_them(tmp_path):
    write_tracks(tmp_path / "tracks", 16)
    process = _start(tmp_path, workers=2, delay=0.1)
    _wait_for(tmp_path, 3)
    process.kill()  # The parent alone, not its group.
    process.communicate(timeout=30)  # The workers hold the other end of this pipe until they end.
    count = len(_decoded(tmp_path))
    time.sleep(0.3)
    assert len(_decoded(tmp_path)) == count < 16


def test_open_clips_loses_only_the_file_that_crashes_its_decoder(tmp_path):
    write_tracks(tmp_path / "tracks", 10)
    (tmp_path / "tracks" / "04.wav").rename(tmp_path / "tracks" / "crash.wav")
    _finish(_start(tmp_path, workers=2, delay=0.0))
    store = open_store(make_catalog(tmp_path / "tracks"), tmp_path / "cache")
    assert store.errors() == {"crash.wav": "crashed the decoder"}
    assert len(store.row) == 9
    (tmp_path / "tracks" / "crash.wav").rename(tmp_path / "tracks" / "sound.wav")
    clean = open_store(make_catalog(tmp_path / "tracks"), tmp_path / "clean")
    np.testing.assert_array_equal(store.samples[:9], clean.samples[:9])
    assert max(_decoded(tmp_path).count(name) for name in store.row) == 1
    assert _decoded(tmp_path).count("crash.wav") == 2


@pytest.mark.e2e
def test_open_clips_names_what_takes_too_long(tmp_path, monkeypatch):
    script = "from mgr_jax.data import decoder; decoder._TOTAL_TIMEOUT = -1; decoder.main()"
    monkeypatch.setattr(decoders, "_COMMAND", (sys.executable, "-c", script))
    monkeypatch.setattr(clip_writer, "Decoders", decoders.Decoders)
    store = open_store(write_tracks(tmp_path / "tracks", 2), tmp_path / "cache")
    assert store.errors() == dict.fromkeys(["00.wav", "01.wav"], ffmpeg.TOO_LONG)


def test_open_clips_decodes_once_for_two_processes(tmp_path):
    write_tracks(tmp_path / "tracks", 6)
    both = [_start(tmp_path, workers=2, delay=0.1) for _ in range(2)]
    one, two = [_finish(process) for process in both]
    assert one == two
    assert sorted(_decoded(tmp_path)) == [f"{i:02d}.wav" for i in range(6)]
