"""Writing shards: the same bytes after any interruption, nothing twice, nothing partial."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal

import pytest
import soundfile

from mgr_jax.data import clip_writer, clips, manifests, shard_faults, shard_writer, shards
from mgr_jax.errors import UserError
from tests.data import collection
from tests.data.collection import LENGTH, NUM_SHARDS, RATE
from tests.data.test_clips import replace_unseen


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    """Folder of a collection and its shards."""
    return collection.make(tmp_path_factory)


@pytest.fixture(name="copied")
def _copied(made, tmp_path):
    """A copy that a test may change, dates included."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "copy"))


def _never(*args, **kwargs):
    raise AssertionError("did it again")


def test_write_shard_slices_the_catalog_into_equal_runs(made):
    sizes = [len(m.tracks) for m in shard_faults.read_manifests(made / "shards")]
    assert sizes == [3, 4, 4, 4]
    for total in (1, 7, 100):
        for count in range(1, total + 1):
            runs = [manifests.slice_of(total, i, count) for i in range(count)]
            covered = [i for run in runs for i in range(total)[run]]
            assert covered == list(range(total))
            lengths = [run.stop - run.start for run in runs]
            assert max(lengths) - min(lengths) <= 1


def test_write_shard_again_does_nothing(made, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    for name in ("_only_one", "_write"):
        monkeypatch.setattr(shard_writer, name, _never)
    manifest, written = collection.write_shard(made, 1)
    assert not written and manifest.shard == 1 and len(manifest.tracks) == 4
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_write_shard_leaves_nothing_but_shards(made):
    assert [path.name for path in sorted((made / "shards").iterdir())] == [
        f"shard-{i:05d}-of-00004.{suffix}" for i in range(4) for suffix in ("array_record", "json")
    ]
    assert not list((made / "cache" / "shards").iterdir())


class _KillError(BaseException):
    """A kill: no code catches it."""


# Points at which a kill may occur while a shard is written: function, and the index of its call.
_MOMENTS = [
    ("clip_writer._decode_row", 0),
    ("clip_writer._decode_row", 2),
    ("shard_writer._source", 1),
    ("shard_writer._pieces", 0),
    ("shard_writer._pieces", 2),
    ("os.fsync", 2),
    ("shard_writer.sha256", 0),
    ("os.replace", 1),
    ("shard_writer.write_whole", 0),
    ("shutil.rmtree", 0),
]
_MODULES = {"clip_writer": clip_writer, "shard_writer": shard_writer, "os": os, "shutil": shutil}


@pytest.mark.parametrize("again", [False, True], ids=["new", "stale"])
@pytest.mark.parametrize(("place", "call"), _MOMENTS)
def test_write_shard_after_a_kill_gives_the_same_bytes(
    made, copied, monkeypatch, place, call, again
):
    about = copied / "shards" / "shard-00002-of-00004.json"
    if again:  # As if made by another decoder, whose samples differ.
        data = about.with_suffix(".array_record")
        content = bytearray(data.read_bytes())
        content[2000] ^= 1
        data.write_bytes(content)
        manifest = collection.with_decoder(manifests.read_manifest(about), code="other")
        manifest = dataclasses.replace(manifest, sha256=collection.sha256(data))
        about.write_text(manifests.to_text(manifest))
    else:
        shutil.rmtree(copied / "shards")
    module, name = place.split(".")
    real, calls = getattr(_MODULES[module], name), []

    def kill(*args, **kwargs):
        calls.append(name)
        if len(calls) == call + 1:
            raise _KillError
        return real(*args, **kwargs)

    monkeypatch.setattr(_MODULES[module], name, kill)
    with pytest.raises(_KillError):
        collection.write_shard(copied, 2)
    monkeypatch.undo()
    if about.exists():  # Then it is whole: the kill comes after all is written, or before.
        manifest = manifests.read_manifest(about)
        assert not shard_faults.wrong_size(about.parent, manifest)
        data = about.with_suffix(".array_record")
        assert shard_writer.sha256(data) == manifest.sha256
    collection.write_shard(copied, 2)
    for name in (about.name, about.with_suffix(".array_record").name):
        assert (copied / "shards" / name).read_bytes() == _same_dates(made, copied, name)
    left = [path.name for path in (copied / "shards").iterdir() if path.name.startswith(".")]
    assert not left


def _same_dates(made, copied, name):
    """Bytes of a file of shards in `made`; a copied collection has the same dates."""
    for path in (made / "audio").iterdir():
        assert path.stat().st_mtime_ns == (copied / "audio" / path.name).stat().st_mtime_ns
    return (made / "shards" / name).read_bytes()


def test_write_shard_resumes_with_the_decoded_clips(copied, monkeypatch):
    shutil.rmtree(copied / "shards")
    real, decoded = clip_writer._decode_row, []

    def decode(job, pool):
        if len(decoded) == 2:
            raise _KillError
        decoded.append(job[0].id)
        return real(job, pool)

    monkeypatch.setattr(clip_writer, "_decode_row", decode)
    with pytest.raises(_KillError):
        collection.write_shard(copied, 1)
    monkeypatch.setattr(
        clip_writer, "_decode_row", lambda job, pool: decoded.append(job[0].id) or real(job, pool)
    )
    collection.write_shard(copied, 1)
    assert decoded == [f"audio/{i:02d}.wav" for i in range(3, 7)]


def test_two_processes_write_a_shard_once(copied):
    shutil.rmtree(copied / "shards")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: collection.write_shard(copied, 0), range(2)))
    assert sorted(written for _, written in done) == [False, True]
    assert done[0][0].sha256 == done[1][0].sha256


def test_write_shard_anew_when_a_file_changed_and_not_for_its_date(copied):
    path = copied / "audio" / "04.wav"
    os.utime(path, (1, 1))
    assert not collection.write_shard(copied, 1)[1]
    assert collection.find_faults(copied) == []
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples[::-1], RATE, subtype="PCM_16")  # As large as before.
    fault = "shard 1/4 has 1 file(s) that changed since (audio/04.wav); run prepare with"
    assert collection.find_faults(copied) == [f"{fault} --shard=1/4"]
    manifest, written = collection.write_shard(copied, 1)
    assert written and manifest.sources[1].md5 == collection.md5(path)
    assert collection.find_faults(copied) == []
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    replace_unseen(path, content)
    assert collection.find_faults(copied) == [f"{fault} --shard=1/4"]
    assert collection.write_shard(copied, 1)[0].sources[1].md5 == collection.md5(path)
    (copied / "audio" / "07.wav").unlink()
    [fault] = collection.find_faults(copied)
    assert fault.startswith("shard 2/4 has 1 file(s) that changed since (audio/07.wav)")


def test_a_changed_catalog_makes_all_shards_stale_until_all_are_written(copied):
    table = copied / "tracks.csv"
    table.write_text(table.read_text().replace("audio/13.wav,b,", "audio/13.wav,a,"))
    words = "has another catalog (15 tracks, not 15); run prepare with"
    assert collection.find_faults(copied) == [
        f"shard {i}/4 {words} --shard={i}/4" for i in range(NUM_SHARDS)
    ]
    assert collection.find_faults(copied, alone=True) == []
    assert collection.write_shard(copied, 3)[1]
    assert len(collection.find_faults(copied)) == 3
    [fault] = collection.find_faults(copied, alone=True)
    assert fault == f"shard 3/4 {words} --shard=3/4"
    collection.write_shards(copied)
    assert collection.find_faults(copied) == []


def test_a_damaged_or_cut_shard_is_reported_and_written_again(made, copied):
    data = copied / "shards" / "shard-00001-of-00004.array_record"
    content = bytearray(data.read_bytes())
    content[2000] ^= 1
    data.write_bytes(content)
    fault = f"has other bytes than its manifest says; delete {data.name}, then run prepare with"
    assert collection.find_faults(copied) == [f"shard 1/4 {fault} --shard=1/4"]
    data.write_bytes(content[:70_000])
    [fault] = collection.find_faults(copied, alone=True)
    assert "cut or overwritten: 70000 bytes" in fault
    data.unlink()
    [fault] = collection.find_faults(copied, alone=True)
    assert f"has no {data.name} (No such file or directory)" in fault
    assert collection.write_shard(copied, 1)[1]
    assert collection.contents(copied) == collection.contents(made)


@pytest.mark.parametrize("settings", [{"sample_rate": 16_000}, {"clip_samples": 99}], ids=str)
def test_find_faults_compares_with_the_given_settings(made, settings):
    [(name, value)] = settings.items()
    there = RATE if name == "sample_rate" else LENGTH
    faults = collection.find_faults(made, **settings)
    assert len(faults) == NUM_SHARDS
    assert f"has another {name} ({there}, not {value})" in faults[0]


@pytest.mark.parametrize(
    ("shard", "count", "message"),
    [
        (4, 4, "--shard 4/4: I is 4; it must be 0 to 3"),
        (0, 0, "--shard 0/0: N is 0; for 15 tracks it must be 1 to 15"),
        (0, 16, "--shard 0/16: N is 16; for 15 tracks it must be 1 to 15"),
        (0, 3, "shard-00000-of-00004.json there has N 4, not 3; use 4, or another folder"),
    ],
)
def test_write_shard_refuses_another_number(made, shard, count, message):
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        collection.write_shard(made, shard, count)
    assert message in str(caught.value)


def test_write_shard_refuses_another_rate_or_length_in_one_folder(made):
    before = collection.contents(made)
    with pytest.raises(UserError, match="there has sample_rate 8000, not 16000; use 8000, or"):
        collection.write_shard(made, 0, sample_rate=16_000)
    with pytest.raises(UserError, match="there has clip_samples 2300, not 9; use 2300, or"):
        collection.write_shard(made, 0, clip_samples=9)
    assert collection.contents(made) == before


@pytest.mark.parametrize("below", ["file", "file/shards", "/proc/nowhere"])
def test_write_shard_names_a_folder_that_cannot_be_written(copied, below):
    (copied / "file").touch()
    with pytest.raises(UserError, match=r"^--shards .* cannot be written \(.+\); make room, or"):
        collection.write_shard(copied, 0, to=copied / below)


def test_write_shard_names_a_cache_that_cannot_be_written(copied):
    shutil.rmtree(copied / "shards")
    (copied / "file").touch()
    with pytest.raises(UserError, match=r"^data.cache .* cannot be written \(Not a directory\)"):
        collection.write_shard(copied, 0, cache=str(copied / "file"))


def test_write_shard_reports_a_full_disk_and_leaves_nothing(made, copied, monkeypatch):
    shutil.rmtree(copied / "shards")
    write, limits = shard_writer._write, resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limited(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        try:
            return write(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(shard_writer, "_write", limited)
    try:
        with pytest.raises(UserError, match=r"cannot be written \(.*File too large\); make room"):
            collection.write_shard(copied, 0)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((copied / "shards").iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(clip_writer, "_decode_row", _never)  # The decoded clips are kept.
    collection.write_shard(copied, 0)
    for name, content in collection.contents(copied).items():
        assert collection.contents(made)[name] == content


def test_write_shard_refuses_a_file_that_changes_during_the_write(copied, monkeypatch):
    shutil.rmtree(copied / "shards")
    real = clips.open_clips

    def change(*args, **kwargs):
        store = real(*args, **kwargs)
        os.utime(copied / "audio" / "01.wav", (1, 1))
        return store

    monkeypatch.setattr(clips, "open_clips", change)
    with pytest.raises(UserError, match=r"1 file\(s\) changed while they were read \(audio/01"):
        collection.write_shard(copied, 0)
    monkeypatch.undo()
    assert collection.write_shard(copied, 0)[1]


def test_shards_of_another_decoder_are_stale(copied, monkeypatch):
    real = clips.source_version
    monkeypatch.setattr(clips, "source_version", lambda *patterns: "other" + real(*patterns))
    assert "shard 0/4 has another decoder (code)" in collection.find_faults(copied)[0]
    assert collection.write_shard(copied, 0)[1]
    # Samples of any decoder are read, but not of two.
    with pytest.raises(UserError, match="shard 0/4 has another decoder"):
        shards.open_shards(copied / "shards", sample_rate=RATE, clip_samples=LENGTH)
    collection.write_shards(copied)
    monkeypatch.undo()
    shards.open_shards(copied / "shards", sample_rate=RATE, clip_samples=LENGTH)


def test_find_faults_refuses_a_missing_folder(made):
    with pytest.raises(UserError, match="no such folder; write shards to it with --shard=I/N"):
        shard_writer.find_faults(None, str(made / "no"), sample_rate=RATE, clip_samples=LENGTH)


def test_describe_counts(made):
    shard_manifests = shard_faults.read_manifests(made / "shards")
    size = sum(path.stat().st_size for path in (made / "shards").glob("*.array_record"))
    text = f"4 shard(s): 15 tracks, 1 of them skipped, {size / 1e6:.1f} MB"
    assert shard_writer.describe(shard_manifests) == text
    assert json.loads((made / "shards" / "shard-00002-of-00004.json").read_text())["num_skipped"]
