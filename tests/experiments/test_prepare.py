"""Preparing data through the command line."""

import hashlib
import os
import shutil
import signal
import time

import numpy as np
import pytest
import soundfile

from mgr_jax.data.catalog import Track
from tests.experiments import commands

CONFIG = ("--config=experiments/configs/logistic.py", "--config.data.clip_seconds=1.0")


@pytest.fixture(name="root")
def _root(tmp_path):
    """A GTZAN of two genres, with the companions that copies of it come with."""
    random = np.random.default_rng(0)
    root = tmp_path / "Data" / "genres_original"
    for genre in ("blues", "jazz"):
        (root / genre).mkdir(parents=True)
        for number in range(3):
            path = root / genre / f"{genre}.{number:05d}.wav"
            soundfile.write(path, random.normal(size=22_050) * 0.1, 22_050)
        (root / genre / f"._{genre}.00000.wav").write_bytes(b"\x00\x05\x16\x07")
    (root / "jazz" / "jazz.00054.wav").write_bytes(b"RIFF" + b"\x00" * 60)
    return tmp_path


def test_prepare_names_every_file_that_it_skips(cache, root):
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}")
    out, _ = commands.run(cache, "prepare", *arguments)
    assert "6 of 7 tracks" in out
    assert "jazz.00054: cannot be decoded" in out
    assert "2 left aside: hidden file" in out


def test_prepare_verify_compares_checksums(cache, root, tmp_path):
    paths = sorted(root.rglob("blues.*.wav"))
    sums = {path.stem: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}
    sums["blues.00001"] = "0" * 32
    facts = tmp_path / "facts.csv"
    rows = [f"{name},{value}" for name, value in sums.items()]
    facts.write_text("\n".join(["track_id,md5", *rows]) + "\n")
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}", "--verify")
    out, _ = commands.run(cache, "prepare", *arguments, f"--config.data.facts={facts}", code=1)
    assert "2 file(s) as published, 1 differ, 4 without a checksum" in out
    assert "blues.00001.wav: MD5 is" in out
    assert "data.facts is empty" in commands.fails(cache, "prepare", *arguments)


def test_verify_names_the_same_file_under_two_labels(capsys):
    names = ("blues.00001", "jazz.00002", "metal.00058", "rock.00016", "pop.1", "pop.2")
    tracks = [Track(name, f"/{name}.wav", name.split(".")[0]) for name in names]
    tracks += [Track("a\x1b", "/a\x1b", "a"), Track("b", "/b", "b"), Track("c", "band:c", "c")]
    sums = [*("1" * 32, "1" * 32, "2" * 32, "2" * 32, "3" * 32, "3" * 32)]
    sums += ["No such file or directory"] * 2 + [""]
    prepare = commands.load("prepare")
    sums_of = {track.id: value for track, value in zip(tracks, sums, strict=True)}
    assert prepare._verify(tracks, {"a\x1b": "4" * 32}, sums_of) == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith(r"          /a\x1b: MD5 is No such file")
    assert "0 file(s) as published, 1 differ, 8 without" in second
    assert third.strip() == "blues.00001 (blues) = jazz.00002 (jazz): same file"


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../up", "_._.._up"), (".hidden", "_hidden"), ("a/b\\c:d", "a_b_c_d"), ("a\n", "a_n")],
)
def test_file_name_stays_in_its_folder(name, safe):
    assert commands.load("prepare")._file_name(name) == safe


def test_prepare_writes_wavs_that_the_folder_reader_takes(cache, root, tmp_path):
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}")
    commands.run(cache, "prepare", *arguments, f"--wav={tmp_path / 'wav'}")
    original, _ = soundfile.read(next(root.rglob("blues.00000.wav")), dtype="int16")
    written, _ = soundfile.read(tmp_path / "wav" / "blues" / "blues.00000.wav", dtype="int16")
    np.testing.assert_array_equal(written, original)
    arguments = (*CONFIG, "--config.data.name=folder", f"--config.data.root={tmp_path / 'wav'}")
    out, _ = commands.run(cache, "prepare", *arguments)
    assert "6 of 6 tracks" in out


@pytest.mark.e2e
def test_prepare_names_a_file_that_was_replaced(cache, root):
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}", "--check")
    out, _ = commands.run(cache, "prepare", *arguments)
    assert "check     7 file(s) and clips, 0 fault(s)" in out
    path, other = sorted(root.rglob("blues.*.wav"))[:2]
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=times)
    out, error = commands.run(cache, "prepare", *arguments)
    words = f"1 file with other content than when decoded before ({path.stem}): decoded anew"
    assert words in error and "0 fault(s)" in out


def _is_refused(cache, message, *arguments):
    assert message in commands.fails(cache, "prepare", *CONFIG, *arguments)


@pytest.mark.e2e
def test_prepare_writes_shards_that_need_no_files(cache, root, tmp_path):
    gtzan = ("--config.data.name=gtzan", f"--config.data.root={root}")
    folder = tmp_path / "shards"
    # At once, as on two machines.
    writers = [
        commands.start(cache, "prepare", *CONFIG, *gtzan, f"--shards={folder}", f"--shard={i}/2")
        for i in (1, 0)
    ]
    outs = [writer.communicate(timeout=120)[0] for writer in writers]
    assert "jazz.00054: cannot be decoded" in outs[0]
    assert f"shard     0/2 in {folder} written: 1 shard(s): 3 tracks, 0 of them skipped" in outs[1]
    out, _ = commands.run(cache, "prepare", *CONFIG, *gtzan, f"--shards={folder}", "--check")
    assert "2 shard(s): 7 tracks, 1 of them skipped" in out and "each track once" in out
    shutil.rmtree(root / "Data")
    sharded = ("--config.data.name=shards", f"--config.data.root={folder}")
    out, _ = commands.run(cache, "prepare", *CONFIG, *sharded)
    assert "gtzan: 6 of 7 tracks of 1 s, 2 classes" in out
    (folder / "shard-00001-of-00002.json").unlink()
    out, _ = commands.run(cache, "prepare", *CONFIG, *sharded, "--check", code=1)
    assert out == (
        "fault     shard 1/2 has no manifest, so it is not finished; run prepare with --shard=1/2\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shards=DIR", "--shard=2/2"), "--shard 2/2: I is 2; it must be 0 to 1"),
        (("--shards=DIR", "--shard=one"), "--shard is 'one'; give I/N, such as 0/16"),
        (("--shards=DIR",), "--shards takes either --shard=I/N or --check"),
        (("--shard=0/2",), "--shards is empty; name the folder of the shards"),
        (("--shards=/proc/nowhere", "--shard=0/10"), "cannot be written"),
        (("--shards=nowhere", "--check"), "no such folder; write shards to it"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_prepare_refuses_wrong_shards_in_one_line(cache, tmp_path, arguments, message):
    arguments = [argument.replace("DIR", str(tmp_path)) for argument in arguments]
    _is_refused(cache, message, "--config.data.num_grooves=3", *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1.0, 2.0, 3.0])
def test_prepare_killed_at_any_moment_gives_the_same_shard(cache, tmp_path, delay):
    arguments = (*CONFIG, "--config.data.num_grooves=3", "--config.data.clip_seconds=5")
    for folder in ("whole", "killed"):
        own = (f"--config.data.cache={tmp_path / folder}_cache", f"--shards={tmp_path / folder}")
        if folder == "killed":
            process = commands.start(cache, "prepare", *arguments, *own, "--shard=1/4")
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        commands.run(cache, "prepare", *arguments, *own, "--shard=1/4")
    whole, killed = (
        {p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in ("whole", "killed")
    )
    assert whole == killed


@pytest.mark.slow
def test_training_and_evaluation_on_shards_equal_those_on_files(cache, trained, tmp_path):
    for shard in range(3):
        which = (f"--shards={tmp_path / 'shards'}", f"--shard={shard}/3")
        commands.run(cache, "prepare", *commands.TINY, *which)
    sharded = ("--config.data.name=shards", f"--config.data.root={tmp_path / 'shards'}")
    commands.run(cache, "train", *commands.TINY, *sharded, f"--workdir={tmp_path / 'run'}")
    predictions = []
    for workdir, data in (("run", ()), ("other", ()), ("other", sharded)):
        if workdir == "other" and not (tmp_path / "other").exists():
            shutil.copytree(trained, tmp_path / "other")
        commands.run(cache, "evaluate", f"--workdir={tmp_path / workdir}", *data)
        folder = tmp_path / workdir / "eval" / "test"
        predictions.append((folder / "predictions.csv").read_text())
    assert predictions[0] == predictions[1] == predictions[2]


def test_prepare_clean_removes_what_was_used_least_recently(cache, tmp_path):
    store = tmp_path / "clips" / "old" / "clips.int16"
    store.parent.mkdir(parents=True)
    store.write_bytes(b"x" * 2_000_000)
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "new").write_bytes(b"x" * 2_000_000)
    os.utime(store, (1000, 1000))
    arguments = (*commands.TINY, "--clean", f"--config.data.cache={tmp_path}")
    out, _ = commands.run(tmp_path / "other", "prepare", *arguments, "--clean_gb=0.003")
    assert f"removed   {tmp_path}/clips/old (0.002 GB)" in out
    assert "clean     1 removed (0.002 GB), 0.002 GB left in" in out
    assert (tmp_path / "snapshots" / "new").exists() and not store.parent.exists()
