"""Evidence of an audit from generated files: identical bytes, near-identical audio, names."""

import shutil

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import gtzan, shard_writer
from mgr_jax.data.sources import make_catalog
from mgr_jax.errors import UserError
from mgr_jax.evaluation import evidence

RATE = 8000


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    """Noises with a tune of their own; a copy, a shifted copy, and a file that is no audio."""
    root = tmp_path_factory.mktemp("music")
    random = np.random.default_rng(0)
    for label in ("blues", "rock"):
        (root / label).mkdir()
        for number in range(2):
            steps = np.repeat(random.uniform(200, 3000, size=80), RATE // 5)
            tune = 0.3 * np.sin(2 * np.pi * np.cumsum(steps) / RATE)
            wave = tune + 0.01 * random.normal(size=len(tune))
            soundfile.write(root / label / f"{number}.wav", wave, RATE)
            if label == "rock" and number:
                soundfile.write(root / "rock" / "later.flac", 0.4 * wave[3 * RATE :], RATE)
    shutil.copy(root / "blues" / "0.wav", root / "rock" / "copy.wav")
    (root / "rock" / "broken.wav").write_bytes(b"RIFF" + b"\x00" * 60)
    return root


def _config(root, tmp_path, **data):
    config = config_lib.Config()
    config.features.sample_rate = RATE
    values = {"name": "folder", "root": str(root), "clip_seconds": 16.0, "protocol": "holdout"}
    for field, value in (values | {"cache": str(tmp_path), "num_workers": 1} | data).items():
        setattr(config.data, field, value)
    return config


def _check_shards_give_the_same(known, root, tmp_path):
    config = _config(root, tmp_path)
    for shard in range(2):
        shard_writer.write_shard(
            make_catalog(config.data),
            str(tmp_path / "shards"),
            shard=shard,
            num_shards=2,
            sample_rate=RATE,
            clip_samples=16 * RATE,
            cache=str(tmp_path),
            num_workers=1,
        )
    in_shards = evidence.gather(_config(tmp_path / "shards", tmp_path, name="shards"))
    assert in_shards.identical == known.identical
    assert in_shards.alike == known.alike
    assert list(in_shards.unreadable) == list(known.unreadable)


def test_gather_finds_copies_and_unreadable_files(root, tmp_path):
    known = evidence.gather(_config(root, tmp_path))
    assert known.identical == (("blues/0.wav", "rock/copy.wav"),)
    assert list(known.unreadable) == ["rock/broken.wav"]
    assert known.seconds["rock/later.flac"] == pytest.approx(13.0)
    assert len(known.catalog.tracks) == 7
    assert len(known.readable.tracks) == 6
    pairs = {(a.left, a.right): a for a in known.alike}
    assert pairs.keys() == {("blues/0.wav", "rock/copy.wav"), ("rock/1.wav", "rock/later.flac")}
    assert pairs["rock/1.wav", "rock/later.flac"].shift_seconds == pytest.approx(-3.0, abs=0.13)
    _check_shards_give_the_same(known, root, tmp_path)
    # The same store, and audio too short to compare.
    assert evidence.gather(_config(root, tmp_path), compare_audio=False).alike is None
    short = _config(root, tmp_path, clip_seconds=3.0)
    assert evidence.gather(short).alike is None


def _facts(tmp_path, text):
    config = config_lib.Config()
    config.data.name = "gtzan_facts"
    config.data.facts = str(tmp_path / "facts.csv")
    (tmp_path / "facts.csv").write_text(text)
    return config


def test_gather_of_gtzan_facts_has_the_published_pairs():
    config = config_lib.Config()
    config.data.name = "gtzan_facts"
    known = evidence.gather(config)
    assert known.identical == gtzan.identical_pairs()
    assert (known.alike, known.unreadable, known.seconds) == (None, {}, {})
    assert len(known.readable.tracks) == 1000


def test_gather_takes_names_and_checksums_of_the_facts(tmp_path):
    config = _facts(
        tmp_path,
        "track_id,md5,artist,recording\nblues.00000,AB,The Band,\nrock.00001, ab ,the band,r\n"
        "disco.00098,x,,\ndisco.00099,y,,\n",
    )
    known = evidence.gather(config)
    artist = {track.id: track.artist for track in known.catalog.tracks}
    assert (artist["blues.00000"], artist["rock.00001"]) == ("The Band", "the band")
    assert artist["disco.00098"].startswith("artist ")
    # Splits ignore the facts, as those of a training do.
    assert known.readable.tracks == gtzan.tracks()
    assert set(known.identical) == {
        ("blues.00000", "rock.00001"),
        *(set(gtzan.identical_pairs()) - {("disco.00098", "disco.00099")}),
    }


def test_gather_refuses_facts_without_ids(tmp_path):
    with pytest.raises(UserError, match="column 'track_id' is missing"):
        evidence.gather(_facts(tmp_path, "id,artist\n"))


def test_gather_of_arrays_compares_their_rows(tmp_path):
    """They lie in one file: which is the same for all tracks."""
    spectrogram = np.random.default_rng(0).integers(0, 255, size=(4, 20, 8), dtype=np.uint8)
    spectrogram[3] = spectrogram[1]
    ids = [f"{label}{i}" for label in "ab" for i in range(2)]
    path = tmp_path / "arrays.npz"
    np.savez(path, spectrogram=spectrogram, scale=1.0, offset=0.0, track_id=ids, label=list("aabb"))
    config = _config(path, tmp_path, name="arrays", clip_samples=20)
    config.features.kind = "spectrogram"
    config.features.num_bins = 8
    known = evidence.gather(config)
    assert known.identical == (("a1", "b1"),)
    assert known.alike is None
