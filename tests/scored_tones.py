"""A data set of tones in memory, and a system that tells them apart by their brightness."""

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import scored as scored_lib
from mgr_jax import workdir
from mgr_jax.data import batches, splits
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.clips import Clips
from mgr_jax.data.records import Record

RATE = 8000
LABELS = ("high", "low")


def brightness(part):
    """Log-probabilities: `high` if most of the power is above 1 kHz."""
    scores = []
    for row in part.rows:
        power = np.abs(np.fft.rfft(part.clips.waveform(int(row)))) ** 2
        share = power[len(power) // 4 :].sum() / (power.sum() + 1e-9)
        scores.append(np.log([share + 1e-6, 1 - share + 1e-6]))
    return np.array(scores)


def make(tmp_path, *, count=24, artists=8, score=brightness, levels=(0.5,), part="test"):
    """Scored tracks, half of them of 3 kHz and half of 300 Hz, of `artists` artists."""
    rng, time = np.random.default_rng(0), np.arange(RATE) / RATE
    tracks, samples, records = [], [], []
    for i in range(count):
        label = LABELS[i % 2]
        wave = np.sin(2 * np.pi * (3000 if label == "high" else 300) * time + i)
        wave = levels[i % len(levels)] * wave + 0.001 * rng.normal(size=RATE)
        length = RATE - 100 * (i % 3)
        wave[length:] = 0
        samples.append(np.rint(wave * 32768).clip(-32768, 32767).astype(np.int16))
        records.append(Record(f"t{i:02d}", length=length))
        artist = f"a{i % artists}"
        tracks.append(Track(f"t{i:02d}", f"{i}.{'wav' if i % 3 else 'mp3'}", label, artist))
    store = Clips(np.stack(samples), tuple(records), RATE, tmp_path)
    catalog = Catalog("tones", tuple(tracks), LABELS)
    ids = tuple(track.id for track in tracks)
    split = splits.Split("listed", (), (), ids)
    parts = {part: batches.make_part(store, ids, {t.id: t.label for t in tracks}, LABELS)}
    config = config_lib.Config()
    config.data.clip_seconds, config.features.sample_rate = 1.0, RATE
    run = workdir.Run(tmp_path, config, LABELS, split, {"data_hash": "", "split_hash": ""})
    dataset = dataset_lib.Dataset(catalog, store, split, parts)
    return scored_lib.Scored("tones", run, dataset, part, score, 3)
