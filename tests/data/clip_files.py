"""Small folders of noise and their clip stores."""

import numpy as np
import soundfile

from mgr_jax.data import clips
from mgr_jax.data.catalog import Catalog, Track

RATE = 8000
LENGTH = 4000


def write_tracks(root, num_tracks, *, length=LENGTH):
    """Return the catalog of `num_tracks` new files of noise."""
    root.mkdir(exist_ok=True)
    for i in range(num_tracks):
        noise = np.random.default_rng(i).uniform(-0.9, 0.9, length)
        soundfile.write(root / f"{i:02d}.wav", noise, RATE, subtype="PCM_16")
    return make_catalog(root)


def make_catalog(root):
    paths = sorted(root.iterdir())
    return Catalog("folder", tuple(Track(p.name, str(p), "x") for p in paths), ("x",))


def open_store(catalog, cache, **kwargs):
    settings = {"sample_rate": RATE, "clip_samples": LENGTH, "num_workers": 1, **kwargs}
    return clips.open_clips(catalog, cache=str(cache), **settings)


def assert_same(one, two):
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.records == two.records
