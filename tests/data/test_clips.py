"""The clip store: exact, decoded once, and nothing lost to kills, crashes and damaged files."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from mgr_jax.data import audio, clips
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.errors import UserError

RATE = 8000
LENGTH = 4000

# Decodes argv[1] into argv[2]; every decoding is logged and slow, and `crash.wav` ends its process.
_SCRIPT = """
import os, sys, time
from mgr_jax.data import audio, clips
from mgr_jax.data.catalog import Catalog, Track

root, cache, workers, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
decode = audio.decode

def slow(path, **kwargs):
    with open(cache + ".log", "a") as log:
        log.write(os.path.basename(path) + "\\n")
    time.sleep(delay)
    if "crash" in path:
        os._exit(1)
    return decode(path, **kwargs)

audio.decode = slow  # Here, above the main guard, so that the workers have it, too.

def main():
    names = sorted(os.listdir(root))
    tracks = tuple(Track(name, os.path.join(root, name), "x") for name in names)
    catalog = Catalog("folder", tracks, ("x",))
    store = clips.open_clips(
        catalog, sample_rate=8000, clip_samples=4000, cache=cache, num_workers=workers
    )
    print(store.folder)

GUARD
"""
_GUARDED = _SCRIPT.replace("GUARD", 'if __name__ == "__main__":\n    main()')
_UNGUARDED = _SCRIPT.replace("GUARD", "main()")


def _write_tracks(root, num_tracks, *, length=LENGTH):
    """Catalog of `num_tracks` files of noise."""
    root.mkdir(exist_ok=True)
    for i in range(num_tracks):
        noise = np.random.default_rng(i).uniform(-0.9, 0.9, length)
        soundfile.write(root / f"{i:02d}.wav", noise, RATE, subtype="PCM_16")
    return _catalog(root)


def _catalog(root):
    paths = sorted(root.iterdir())
    return Catalog("folder", tuple(Track(p.name, str(p), "x") for p in paths), ("x",))


def _open(catalog, cache, **kwargs):
    settings = {"sample_rate": RATE, "clip_samples": LENGTH, "num_workers": 1, **kwargs}
    return clips.open_clips(catalog, cache=str(cache), **settings)


def _start(tmp_path, *, workers, delay, script=_GUARDED, cache="cache"):
    path = tmp_path / "script.py"
    path.write_text(script)
    root, store = str(tmp_path / "tracks"), str(tmp_path / cache)
    command = [sys.executable, str(path), root, store, str(workers), str(delay)]
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
    """Until so many tracks are being decoded."""
    deadline = time.monotonic() + 30
    while len(_decoded(tmp_path)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _same(one, two):
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.records == two.records


def test_open_clips_keeps_16_bit_audio_exactly(tmp_path):
    integers = np.arange(-32768, 32768, 17, dtype=np.int16)
    (tmp_path / "tracks").mkdir()
    soundfile.write(tmp_path / "tracks" / "a.wav", integers, RATE, subtype="PCM_16")
    store = _open(_catalog(tmp_path / "tracks"), tmp_path / "cache")
    assert store.samples.shape == (1, LENGTH)
    assert store.samples.dtype == np.int16
    assert store.sample_rate == RATE
    np.testing.assert_array_equal(store.samples[0, : len(integers)], integers)
    assert not store.samples[0, len(integers) :].any()
    waveform = store.waveform(0)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform[: len(integers)], integers / np.float32(32768))
    assert store.records[0].length == len(integers)


def test_open_clips_keeps_samples_above_full_scale(tmp_path):
    samples = np.random.default_rng(0).uniform(-3.0, 3.0, LENGTH).astype(np.float32)
    (tmp_path / "tracks").mkdir()
    soundfile.write(tmp_path / "tracks" / "a.wav", samples, RATE, subtype="FLOAT")
    store = _open(_catalog(tmp_path / "tracks"), tmp_path / "cache")
    peak = np.abs(samples).max()
    assert store.records[0].scale == peak
    assert np.abs(store.waveform(0) - samples).max() <= peak / 32768
    assert np.abs(store.waveform(0)).max() > 2.9


def test_open_clips_cuts_and_pads_and_says_what_is_short(tmp_path):
    root = tmp_path / "tracks"
    root.mkdir()
    for name, length in (("long", 6000), ("most", 3700), ("short", 1000)):
        soundfile.write(root / f"{name}.wav", np.full(length, 0.5), RATE, subtype="PCM_16")
    store = _open(_catalog(root), tmp_path / "cache")
    assert [record.length for record in store.records] == [4000, 3700, 1000]
    for row, record in enumerate(store.records):
        expected = np.where(np.arange(LENGTH) < record.length, 0.5, 0.0)
        np.testing.assert_allclose(store.waveform(row), expected, atol=1e-4)
    assert store.notes() == {"short.wav": "short: 0.12 s, padded to 0.5 s"}


def test_waveform_reads_a_piece_and_pads_past_the_end(tmp_path):
    store = _open(_write_tracks(tmp_path / "tracks", 2), tmp_path / "cache")
    whole = store.waveform(1)
    np.testing.assert_array_equal(store.waveform(1, 100, 50), whole[100:150])
    np.testing.assert_array_equal(store.waveform(1, 3990), whole[3990:])
    piece = store.waveform(1, 3990, 20)
    np.testing.assert_array_equal(piece, [*whole[3990:], *np.zeros(10)])


def test_open_clips_decodes_once(tmp_path, monkeypatch):
    catalog = _write_tracks(tmp_path / "tracks", 3)
    first = _open(catalog, tmp_path / "cache")

    def never(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(audio, "decode", never)
    _same(_open(catalog, tmp_path / "cache"), first)
    assert not (first.folder / "progress.jsonl").exists()


def test_open_clips_reads_a_finished_store_without_writing(tmp_path, monkeypatch):
    catalog = _write_tracks(tmp_path / "tracks", 2)
    first = _open(catalog, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}

    def never(*args, **kwargs):
        raise AssertionError("took the lock")

    monkeypatch.setattr(clips, "_locked", never)
    _same(_open(catalog, tmp_path / "cache"), first)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}


def test_open_clips_makes_another_store_for_other_audio_rate_length_or_decoder(
    tmp_path, monkeypatch
):
    catalog = _write_tracks(tmp_path / "tracks", 2)
    folders = [
        _open(catalog, tmp_path / "cache").folder,
        _open(catalog, tmp_path / "cache", sample_rate=4000).folder,
        _open(catalog, tmp_path / "cache", clip_samples=3000).folder,
    ]
    os.utime(catalog.tracks[0].path, (1, 1))
    folders.append(_open(catalog, tmp_path / "cache").folder)
    soundfile.write(catalog.tracks[1].path, np.full(LENGTH + 5, 0.25), RATE)
    changed = _open(catalog, tmp_path / "cache")
    folders.append(changed.folder)
    assert abs(changed.waveform(1) - 0.25).max() < 1e-4
    monkeypatch.setattr(clips, "source_version", lambda *patterns: "other code")
    folders.append(_open(catalog, tmp_path / "cache").folder)
    assert len(set(folders)) == len(folders)


def test_open_clips_lists_what_cannot_be_read(tmp_path):
    root = tmp_path / "tracks"
    _write_tracks(root, 1)
    (root / "text.wav").write_text("not audio")
    soundfile.write(root / "empty.wav", np.zeros(0), RATE)
    soundfile.write(root / "silent.wav", np.zeros(LENGTH), RATE)
    soundfile.write(root / "nan.wav", np.full(LENGTH, np.nan), RATE, subtype="FLOAT")
    os.mkfifo(root / "pipe.wav")
    (root / "gone.wav").symlink_to(root / "nowhere")
    whole = (root / "00.wav").read_bytes()
    (root / "cut.wav").write_bytes(whole[: len(whole) // 4])
    catalog = _catalog(root)
    store = _open(catalog, tmp_path / "cache")
    assert store.errors() == {
        "empty.wav": "has no samples",
        "gone.wav": "cannot be decoded (No such file or directory)",
        "nan.wav": "holds NaN or Inf samples",
        "pipe.wav": "is not a file",
        "silent.wav": "is silent",
        "text.wav": "cannot be decoded (Format not recognised)",
    }
    assert store.notes() == {"cut.wav": "truncated or damaged: only 0.12 s of it can be read"}
    assert store.row == {"00.wav": 0, "cut.wav": 1}
    assert [record.id for record in store.records] == [track.id for track in catalog.tracks]


def test_open_clips_gives_the_same_with_any_number_of_processes(tmp_path):
    catalog = _write_tracks(tmp_path / "tracks", 7)
    inline = []
    for track in catalog.tracks:  # A few tracks at a time are decoded in this process.
        one = Catalog("folder", (track,), ("x",))
        inline.append(_open(one, tmp_path / "inline"))
    parallel = _open(catalog, tmp_path / "parallel", num_workers=2)
    np.testing.assert_array_equal(parallel.samples, np.concatenate([s.samples for s in inline]))
    assert parallel.records == tuple(store.records[0] for store in inline)


def test_open_clips_goes_on_after_a_kill(tmp_path):
    catalog = _write_tracks(tmp_path / "tracks", 16)
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
    resumed = _open(catalog, tmp_path / "cache")
    assert str(resumed.folder) == folder
    _same(resumed, _open(catalog, tmp_path / "unbroken"))


def test_workers_end_with_the_process_that_started_them(tmp_path):
    _write_tracks(tmp_path / "tracks", 16)
    process = _start(tmp_path, workers=2, delay=0.1)
    _wait_for(tmp_path, 3)
    process.kill()  # The parent alone, not its group.
    process.communicate(timeout=30)  # The workers hold the other end of this pipe until they end.
    count = len(_decoded(tmp_path))
    time.sleep(0.3)
    assert len(_decoded(tmp_path)) == count < 16


def test_open_clips_loses_only_the_file_that_crashes_its_decoder(tmp_path):
    _write_tracks(tmp_path / "tracks", 10)
    (tmp_path / "tracks" / "04.wav").rename(tmp_path / "tracks" / "crash.wav")
    _finish(_start(tmp_path, workers=2, delay=0.0))
    store = _open(_catalog(tmp_path / "tracks"), tmp_path / "cache")
    assert store.errors() == {"crash.wav": "crashed the decoder"}
    assert len(store.row) == 9
    (tmp_path / "tracks" / "crash.wav").rename(tmp_path / "tracks" / "sound.wav")
    clean = _open(_catalog(tmp_path / "tracks"), tmp_path / "clean")
    np.testing.assert_array_equal(store.samples[:9], clean.samples[:9])
    # Those beside it may be decoded twice, no more.
    assert max(_decoded(tmp_path).count(name) for name in store.row) <= 2


def test_open_clips_decodes_once_for_two_processes(tmp_path):
    _write_tracks(tmp_path / "tracks", 6)
    both = [_start(tmp_path, workers=2, delay=0.1) for _ in range(2)]
    one, two = [_finish(process) for process in both]
    assert one == two
    assert sorted(_decoded(tmp_path)) == [f"{i:02d}.wav" for i in range(6)]


def test_open_clips_tells_of_a_script_without_a_main_guard(tmp_path):
    _write_tracks(tmp_path / "tracks", 6)
    process = _start(tmp_path, workers=2, delay=0.0, script=_UNGUARDED)
    _, err = process.communicate(timeout=60)  # It would hang, waiting for itself.
    assert process.returncode == 1
    assert "UserError: no process to decode in can be started" in err


def test_open_clips_makes_a_damaged_store_anew(tmp_path):
    catalog = _write_tracks(tmp_path / "tracks", 3)
    store = _open(catalog, tmp_path / "cache")
    expected = np.array(store.samples)
    facts, data = store.folder / "store.json", store.folder / "clips.int16"
    content = json.loads(facts.read_text())
    for damage in (
        lambda: facts.write_text(""),
        lambda: facts.write_text("[]"),
        lambda: facts.write_text('{"records": [1]}'),
        lambda: facts.write_text(json.dumps(content | {"records": content["records"][:2]})),
        data.unlink,
        lambda: os.truncate(data, 100),
    ):
        damage()
        np.testing.assert_array_equal(_open(catalog, tmp_path / "cache").samples, expected)


def test_open_clips_does_not_trust_progress_without_the_rows(tmp_path):
    catalog = _write_tracks(tmp_path / "tracks", 3)
    store = _open(catalog, tmp_path / "cache")
    expected = np.array(store.samples)
    lines = [json.dumps(record) for record in json.loads(_facts(store).read_text())["records"]]
    _facts(store).unlink()
    (store.folder / "progress.jsonl").write_text("\n".join(lines))
    (store.folder / "clips.int16").unlink()
    np.testing.assert_array_equal(_open(catalog, tmp_path / "cache").samples, expected)


def _facts(store):
    return store.folder / "store.json"


def test_open_clips_skips_progress_lines_that_are_damaged(tmp_path):
    catalog = _write_tracks(tmp_path / "tracks", 2)
    store = _open(catalog, tmp_path / "cache")
    expected = np.array(store.samples)
    _facts(store).unlink()
    (store.folder / "progress.jsonl").write_bytes(b'{"id": "00.w\n17\n\x00\x00\xff\n{"no": 1}\n')
    _same(_open(catalog, tmp_path / "cache"), store)
    np.testing.assert_array_equal(store.samples, expected)


@pytest.mark.parametrize("below", ["file/cache", "file"])
def test_open_clips_names_a_cache_that_cannot_be_written(tmp_path, below):
    catalog = _write_tracks(tmp_path / "tracks", 1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        _open(catalog, tmp_path / below)
    message = str(caught.value)
    assert message.startswith(f"data.cache {tmp_path / below}")
    assert "cannot be written (Not a directory); set data.cache" in message


def test_open_clips_tells_of_a_full_disk(tmp_path, monkeypatch):
    catalog = _write_tracks(tmp_path / "tracks", 1)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        _open(catalog, tmp_path / "cache")
    monkeypatch.undo()
    assert len(_open(catalog, tmp_path / "cache").row) == 1


def test_open_clips_lies_where_the_environment_says(tmp_path, monkeypatch):
    catalog = _write_tracks(tmp_path / "tracks", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _open(catalog, "").folder.parent == tmp_path / "xdg" / "mgr_jax" / "clips"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _open(catalog, "").folder.parent == tmp_path / "home" / ".cache" / "mgr_jax" / "clips"
    assert _open(catalog, "~/own").folder.parent == tmp_path / "home" / "own" / "clips"
