"""Decoding in separate processes, which may crash, hang or run out of memory."""

import io
import os
import pathlib
import signal
import sys
import threading

import numpy as np
import pytest
import soundfile

from mgr_jax.data import audio, decoders

# A decoder that crashes on the name of a file as a native one does on its content.
_UNSAFE = """
import ctypes, os, time
import numpy as np
from mgr_jax.data import audio, decoder
stream = audio.stream
def unsafe(path, **settings):
    name = os.path.basename(path)
    if name.startswith("crash"):
        ctypes.string_at(0)
    if name.startswith("hang"):
        time.sleep(1000)
    if name.startswith("bomb"):
        np.ones(1 << 34)
    if name.startswith("spin"):
        while True:
            pass
    return stream(path, **settings)
audio.stream = unsafe
decoder.main()
"""


@pytest.fixture(name="pool")
def _pool():
    pool = decoders.Decoders(2)
    yield pool
    pool.close()


@pytest.fixture(name="unsafe")
def _unsafe(pool, monkeypatch):
    monkeypatch.setattr(decoders, "_COMMAND", (sys.executable, "-c", _UNSAFE))
    monkeypatch.setattr(decoders, "_TIMEOUT", 2.0)
    return pool


def _write(folder, *names, seconds=1.0, rate=8000):
    generator = np.random.default_rng(len(names))
    for name in names:
        samples = generator.normal(size=int(seconds * rate)) * 0.1
        with open(folder / name, "wb") as file:
            soundfile.write(file, samples, rate, format="WAV")
    return [str(folder / name) for name in names]


def _join(blocks):
    """Return waveform and note, or the error."""
    parts = []
    while True:
        try:
            parts.append(next(blocks))
        except StopIteration as end:
            return np.concatenate(parts), end.value
        except audio.AudioError as error:
            return str(error)


def test_read_gives_what_decode_gives_in_order(pool, tmp_path):
    paths = _write(tmp_path, *(f"{i}.wav" for i in range(7)))
    paths.insert(3, str(tmp_path / "none.wav"))
    for _ in range(2):  # The second time with the processes of the first.
        results = [(path, _join(blocks)) for path, blocks in pool.read(paths, sample_rate=11_025)]
        assert [path for path, _ in results] == paths
        for path, result in results:
            if path.endswith("none.wav"):
                assert result == "cannot be decoded (No such file or directory)"
            else:
                waveform, note = audio.decode(path, sample_rate=11_025)
                np.testing.assert_array_equal(result[0], waveform)
                assert result[1] == note


@pytest.mark.parametrize("name", ["ünïcode $x$.wav", "a\nb.wav", os.fsdecode(b"\xff.wav")])
def test_read_takes_any_name(pool, tmp_path, name):
    (path,) = _write(tmp_path, name)
    results = [_join(blocks) for _, blocks in pool.read([path], sample_rate=8000)]
    assert [(waveform.size, note) for waveform, note in results] == [(8000, "")]


def test_read_source_takes_open_files_and_notes_of_waveforms(pool, tmp_path):
    (path,) = _write(tmp_path, "a.wav")
    expected, _ = audio.decode(path, sample_rate=8000)
    for source in (io.BytesIO(pathlib.Path(path).read_bytes()), open(path, "rb")):  # noqa: SIM115
        with source:
            ((name, result),) = [
                (name, _join(blocks))
                for name, blocks in pool.read_source(source, None, sample_rate=8000)
            ]
        assert name == ""
        np.testing.assert_array_equal(result[0], expected)
    with open(path, encoding="latin-1") as text, pytest.raises(ValueError, match="as binary"):
        list(pool.read_source(text, None, sample_rate=8000))
    ((_, blocks),) = pool.read_source(2.0**15 * expected, 8000, sample_rate=8000)
    assert _join(blocks)[1].startswith("its samples reach")


def test_read_continues_after_a_file_that_is_not_read_to_its_end(pool, tmp_path):
    paths = _write(tmp_path, *(f"{i}.wav" for i in range(5)), seconds=30)
    results = []
    for index, (_, blocks) in enumerate(pool.read(paths, sample_rate=8000)):
        if index == 1:
            next(blocks)
        elif index != 2:
            results.append(_join(blocks)[0].size)
    assert results == [240_000] * 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crash.wav", "crashed the decoder"),
        ("hang.wav", "takes too long to decode: its time limit is over"),
        ("bomb.wav", "takes too much memory to decode"),
    ],
)
def test_read_loses_only_the_file_that_ends_its_decoder(unsafe, tmp_path, name, reason):
    paths = _write(tmp_path, "a.wav", "b.wav", name, "c.wav", "d.wav", "e.wav")
    results = [_join(blocks) for _, blocks in unsafe.read(paths, sample_rate=8000)]
    assert results[2] == reason
    for path, result in zip(paths[:2] + paths[3:], results[:2] + results[3:], strict=True):
        np.testing.assert_array_equal(result[0], audio.decode(path, sample_rate=8000)[0])


def test_read_bounds_the_time_of_a_file(pool, tmp_path, monkeypatch):
    script = "from mgr_jax.data import decoder; decoder._TOTAL_TIMEOUT = 0; decoder.main()"
    monkeypatch.setattr(decoders, "_COMMAND", (sys.executable, "-c", script))
    paths = _write(tmp_path, "long.wav", seconds=30, rate=48_000)
    results = [_join(blocks) for _, blocks in pool.read(paths, sample_rate=44_100)]
    assert results == ["takes too long to decode: its time limit is over"]


@pytest.mark.slow
def test_read_bounds_the_cpu_time_before_the_first_block(pool, tmp_path, monkeypatch):
    script = _UNSAFE.replace("decoder.main()", "decoder._TIMEOUT = 2; decoder.main()")
    monkeypatch.setattr(decoders, "_COMMAND", (sys.executable, "-c", script))
    paths = _write(tmp_path, "a.wav", "spin.wav", "b.wav")
    results = [_join(blocks) for _, blocks in pool.read(paths, sample_rate=8000)]
    assert results[1] == "takes too long to decode: its time limit is over"
    assert [note for _, note in results[::2]] == ["", ""]


def test_close_ends_a_file_that_is_being_read(unsafe, tmp_path):
    reader = unsafe.read(_write(tmp_path, "hang.wav"), sample_rate=8000)
    _, blocks = next(reader)
    timer = threading.Timer(0.1, unsafe.close)
    timer.start()
    assert _join(blocks) == "was not decoded: the decoders are closed"


def test_read_gives_no_sample_twice_when_a_decoder_is_killed(pool, tmp_path, monkeypatch):
    # Longer than what is decoded ahead, so that the process is still decoding.
    script = "from mgr_jax.data import decoder; decoder._AHEAD = 1 << 18; decoder.main()"
    monkeypatch.setattr(decoders, "_COMMAND", (sys.executable, "-c", script))
    (path,) = _write(tmp_path, "long.wav", seconds=60, rate=48_000)
    process = pool.acquire()
    pid = process._popen.pid
    pool.release(process)
    for _, blocks in pool.read([path], sample_rate=48_000):
        first = next(blocks)
        os.kill(pid, signal.SIGKILL)
        rest, note = _join(blocks)
    expected, _ = audio.decode(path, sample_rate=48_000)
    np.testing.assert_array_equal(np.concatenate([first, rest]), expected)
    assert not note


def test_processes_end_with_the_pool(pool, tmp_path):
    (path,) = _write(tmp_path, "a.wav")
    for _, blocks in pool.read([path], sample_rate=8000):
        _join(blocks)
    process = pool.acquire()
    pool.release(process)
    assert process.alive()
    pool.close()
    assert not process.alive()


def test_read_finds_relative_paths_after_the_folder_was_changed(pool, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.full(2000, 0.1), 8000)
    pool.warm_up()
    monkeypatch.chdir(tmp_path)
    for path, blocks in pool.read(["a.wav"], sample_rate=8000):
        assert path == "a.wav" and sum(map(len, blocks)) == 2000
