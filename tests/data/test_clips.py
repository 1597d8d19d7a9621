"""The clip store: exact, decoded once, robust against damaged files."""

import errno
import json
import os

import numpy as np
import pytest
import soundfile

from mgr_jax.data import clip_writer, clips
from mgr_jax.data.clip_writer import file_hash
from mgr_jax.errors import UserError
from tests.data.clip_files import LENGTH, RATE, assert_same, make_catalog, open_store, write_tracks


def test_open_clips_keeps_16_bit_audio_exactly(tmp_path):
    integers = np.arange(-32768, 32768, 17, dtype=np.int16)
    (tmp_path / "tracks").mkdir()
    soundfile.write(tmp_path / "tracks" / "a.wav", integers, RATE, subtype="PCM_16")
    store = open_store(make_catalog(tmp_path / "tracks"), tmp_path / "cache")
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
    store = open_store(make_catalog(tmp_path / "tracks"), tmp_path / "cache")
    peak = np.abs(samples).max()
    assert store.records[0].scale == peak
    assert np.abs(store.waveform(0) - samples).max() <= peak / 32768
    assert np.abs(store.waveform(0)).max() > 2.9


def test_open_clips_cuts_and_pads_and_notes_short_files(tmp_path):
    root = tmp_path / "tracks"
    root.mkdir()
    for name, length in (("long", 6000), ("most", 3700), ("short", 1000)):
        soundfile.write(root / f"{name}.wav", np.full(length, 0.5), RATE, subtype="PCM_16")
    store = open_store(make_catalog(root), tmp_path / "cache")
    assert [record.length for record in store.records] == [4000, 3700, 1000]
    for row, record in enumerate(store.records):
        expected = np.where(np.arange(LENGTH) < record.length, 0.5, 0.0)
        np.testing.assert_allclose(store.waveform(row), expected, atol=1e-4)
    assert store.notes() == {"short.wav": "short: 0.12 s, padded to 0.5 s"}


def test_waveform_reads_a_piece_and_pads_past_the_end(tmp_path):
    store = open_store(write_tracks(tmp_path / "tracks", 2), tmp_path / "cache")
    whole = store.waveform(1)
    np.testing.assert_array_equal(store.waveform(1, 100, 50), whole[100:150])
    np.testing.assert_array_equal(store.waveform(1, 3990), whole[3990:])
    piece = store.waveform(1, 3990, 20)
    np.testing.assert_array_equal(piece, [*whole[3990:], *np.zeros(10)])


def test_open_clips_decodes_once(tmp_path, monkeypatch):
    catalog = write_tracks(tmp_path / "tracks", 3)
    first = open_store(catalog, tmp_path / "cache")

    def never(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(clip_writer, "_decode_row", never)
    assert_same(open_store(catalog, tmp_path / "cache"), first)
    assert not (first.folder / "progress.jsonl").exists()


def test_open_clips_reads_a_finished_store_without_writing(tmp_path, monkeypatch):
    catalog = write_tracks(tmp_path / "tracks", 2)
    first = open_store(catalog, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}

    def never(*args, **kwargs):
        raise AssertionError("took the lock")

    monkeypatch.setattr(clips.filelock, "FileLock", never)
    assert_same(open_store(catalog, tmp_path / "cache"), first)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}


def test_open_clips_makes_another_store_for_other_audio_rate_length_or_decoder(
    tmp_path, monkeypatch
):
    catalog = write_tracks(tmp_path / "tracks", 2)
    folders = [
        open_store(catalog, tmp_path / "cache").folder,
        open_store(catalog, tmp_path / "cache", sample_rate=4000).folder,
        open_store(catalog, tmp_path / "cache", clip_samples=3000).folder,
    ]
    os.utime(catalog.tracks[0].path, (1, 1))
    folders.append(open_store(catalog, tmp_path / "cache").folder)
    soundfile.write(catalog.tracks[1].path, np.full(LENGTH + 5, 0.25), RATE)
    changed = open_store(catalog, tmp_path / "cache")
    folders.append(changed.folder)
    assert abs(changed.waveform(1) - 0.25).max() < 1e-4
    monkeypatch.setattr(clips, "source_version", lambda *patterns: "other code")
    folders.append(open_store(catalog, tmp_path / "cache").folder)
    assert len(set(folders)) == len(folders)


def test_open_clips_lists_what_cannot_be_read(tmp_path):
    root = tmp_path / "tracks"
    write_tracks(root, 1)
    (root / "text.wav").write_text("not audio")
    soundfile.write(root / "empty.wav", np.zeros(0), RATE)
    soundfile.write(root / "silent.wav", np.zeros(LENGTH), RATE)
    soundfile.write(root / "nan.wav", np.full(LENGTH, np.nan), RATE, subtype="FLOAT")
    os.mkfifo(root / "pipe.wav")
    (root / "gone.wav").symlink_to(root / "nowhere")
    whole = (root / "00.wav").read_bytes()
    (root / "cut.wav").write_bytes(whole[: len(whole) // 4])
    catalog = make_catalog(root)
    store = open_store(catalog, tmp_path / "cache")
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


def test_open_clips_makes_a_damaged_store_anew(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 3)
    store = open_store(catalog, tmp_path / "cache")
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
        np.testing.assert_array_equal(open_store(catalog, tmp_path / "cache").samples, expected)


def test_open_clips_does_not_trust_progress_without_the_rows(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 3)
    store = open_store(catalog, tmp_path / "cache")
    expected = np.array(store.samples)
    lines = [json.dumps(record) for record in json.loads(_facts(store).read_text())["records"]]
    _facts(store).unlink()
    (store.folder / "progress.jsonl").write_text("\n".join(lines))
    (store.folder / "clips.int16").unlink()
    np.testing.assert_array_equal(open_store(catalog, tmp_path / "cache").samples, expected)


def _facts(store):
    return store.folder / "store.json"


def test_open_clips_skips_progress_lines_that_are_damaged(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 2)
    store = open_store(catalog, tmp_path / "cache")
    expected = np.array(store.samples)
    _facts(store).unlink()
    (store.folder / "progress.jsonl").write_bytes(b'{"id": "00.w\n17\n\x00\x00\xff\n{"no": 1}\n')
    assert_same(open_store(catalog, tmp_path / "cache"), store)
    np.testing.assert_array_equal(store.samples, expected)


def _flip(data):
    data[5] ^= 64


def _clear(data):
    data[: LENGTH * 2] = bytes(LENGTH * 2)


def _exchange(data):
    row = LENGTH * 2
    data[:row], data[row : 2 * row] = data[row : 2 * row], data[:row]


@pytest.mark.parametrize("damage", [_flip, _clear, _exchange])
def test_waveform_refuses_a_clip_that_is_not_as_it_was_decoded(tmp_path, damage):
    catalog = write_tracks(tmp_path / "tracks", 3)
    store = open_store(catalog, tmp_path / "cache")
    path = store.folder / "clips.int16"
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    store = open_store(catalog, tmp_path / "cache")
    with pytest.raises(UserError, match=r"the clip of 00.wav is damaged; delete this folder"):
        store.waveform(0, 3000, 10)
    assert store.waveform(2).any()
    assert "00.wav: its clip in" in store.find_faults(catalog)[0]
    with pytest.raises(UserError):
        store.check_all()


def test_open_clips_makes_a_store_anew_whose_records_were_changed(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 3)
    first = open_store(catalog, tmp_path / "cache")
    values = json.loads(_facts(first).read_text())
    values["records"][0]["scale"] = 2.0
    _facts(first).write_text(json.dumps(values))
    assert_same(open_store(catalog, tmp_path / "cache"), first)
    values["records"].reverse()
    _facts(first).write_text(json.dumps(values))
    assert_same(open_store(catalog, tmp_path / "cache"), first)


def test_find_faults_names_a_file_of_the_same_size_and_date_with_other_content(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 3)
    first = open_store(catalog, tmp_path / "cache")
    assert first.find_faults(catalog) == []
    path, other = (tmp_path / "tracks" / name for name in ("01.wav", "02.wav"))
    replace_unseen(path, other.read_bytes())
    assert first.find_faults(catalog) == [f"{path}: has other content than when it was decoded"]


def replace_unseen(path, content):
    """Give a file other content, with the same size and date."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_open_clips_notices_other_content_of_the_same_size_and_date(tmp_path, monkeypatch):
    catalog = write_tracks(tmp_path / "tracks", 3)
    first = open_store(catalog, tmp_path / "cache")
    path, other = (tmp_path / "tracks" / name for name in ("01.wav", "02.wav"))
    content = path.read_bytes()
    replace_unseen(path, other.read_bytes())
    second = open_store(catalog, tmp_path / "cache")
    assert second.folder != first.folder
    np.testing.assert_array_equal(second.waveform(1), first.waveform(2))
    assert open_store(catalog, tmp_path / "cache").folder == second.folder
    replace_unseen(path, content)
    assert_same(open_store(catalog, tmp_path / "cache"), first)
    # A file whose status alone has changed is read once, and decoded no more.
    path.chmod(0o600)
    read = []
    monkeypatch.setattr(clip_writer, "file_hash", lambda p: read.append(p) or file_hash(p))
    for _ in range(2):
        assert_same(open_store(catalog, tmp_path / "cache"), first)
    assert read == [str(path)]


def test_content_is_that_of_the_files(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 2)
    content = open_store(catalog, tmp_path / "cache").content()
    os.utime(catalog.tracks[0].path, (1, 1))
    assert open_store(catalog, tmp_path / "cache").content() == content
    soundfile.write(catalog.tracks[1].path, np.full(LENGTH, 0.25), RATE)
    changed = open_store(catalog, tmp_path / "cache").content()
    assert changed["00.wav"] == content["00.wav"] and changed["01.wav"] != content["01.wav"]


@pytest.mark.parametrize("below", ["file/cache", "file"])
def test_open_clips_names_a_cache_that_cannot_be_written(tmp_path, below):
    catalog = write_tracks(tmp_path / "tracks", 1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        open_store(catalog, tmp_path / below)
    message = str(caught.value)
    assert message.startswith(f"data.cache {tmp_path / below}")
    assert "cannot be written (Not a directory); set data.cache" in message


def test_open_clips_reports_a_full_disk(tmp_path, monkeypatch):
    catalog = write_tracks(tmp_path / "tracks", 1)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        open_store(catalog, tmp_path / "cache")
    monkeypatch.undo()
    assert len(open_store(catalog, tmp_path / "cache").row) == 1


def test_open_clips_follows_the_environment(tmp_path, monkeypatch):
    catalog = write_tracks(tmp_path / "tracks", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert open_store(catalog, "").folder.parent == tmp_path / "xdg" / "mgr_jax" / "clips"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert (
        open_store(catalog, "").folder.parent == tmp_path / "home" / ".cache" / "mgr_jax" / "clips"
    )
    assert open_store(catalog, "~/own").folder.parent == tmp_path / "home" / "own" / "clips"
