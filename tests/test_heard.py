"""Tracks are heard whole and in order, with windows of several tracks in one batch."""

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import heard, hearing
from mgr_jax.data.audio import AudioError

WINDOW = 100


def _config():
    config = config_lib.Config()
    config.data.clip_samples, config.features.sample_rate = WINDOW, 1000
    return config


def _source(name, num_samples, note=""):
    def blocks():
        yield np.full(num_samples, num_samples / 1000, np.float32)
        return note

    return name, blocks()


def _broken(name):
    def blocks():
        yield np.ones(WINDOW + 1, np.float32)
        raise AudioError("breaks off")

    return name, blocks()


def _hear(sources, **options):
    """Return the tracks, and the rows of each batch that hold a window."""
    batches = []

    def score(batch):
        batches.append(int((batch["num_samples"] > 0).sum()))
        return hearing.Scores(batch["waveform"][:, :1], batch["num_samples"] / WINDOW)

    return [*heard.hear(iter(sources), score, _config(), **options)], batches


def test_hear_fills_batches_across_tracks_and_keeps_their_order():
    lengths = (250, 40, 100, 300)
    sources = [_source(f"t{n}", n, "mono") for n in lengths]
    tracks, batches = _hear(sources, batch_size=4)
    assert [track.path for track in tracks] == ["t250", "t40", "t100", "t300"]
    # Three windows, of which the last one overlaps; one; one; three.
    assert batches == [4, 4]
    for track, length in zip(tracks, lengths, strict=True):
        assert (track.length, track.note, track.error) == (length, "mono", None)
        np.testing.assert_allclose(np.concatenate(track.scores), length / 1000, rtol=1e-6)
    assert tracks[0].starts == [0, 100, 150] and tracks[1].strangeness == [0.4]


def test_hear_overlaps_windows():
    (track,), _ = _hear([_source("t", 200)], batch_size=8, overlap=0.5)
    assert track.starts == [0, 50, 100]


def test_hear_goes_on_after_a_track_that_fails():
    sources = [_source("a", 50), _broken("b"), _source("c", 150)]
    tracks, _ = _hear(sources, batch_size=2)
    assert [str(track.error) for track in tracks] == ["None", "breaks off", "None"]
    assert len(tracks[2].scores) == 2
    tracks, _ = _hear([_source("a", 50), _source("c", 150)], batch_size=2, max_seconds=0.1)
    assert tracks[0].error is None and str(tracks[1].error) == "is longer than 0.1 s"


def test_hear_scores_a_single_window_alone():
    rows = []

    def score(batch):
        rows.append(len(batch["waveform"]))
        return hearing.Scores(batch["waveform"][:, :1])

    ((track),) = heard.hear(iter([_source("a", 50)]), score, _config(), batch_size=16)
    assert rows[0] < 16 and track.strangeness == [0.0]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_hear_gives_the_same_whatever_the_batch(batch_size):
    sources = [_source(f"t{n}", n) for n in (250, 40)]
    tracks, _ = _hear(sources, batch_size=batch_size)
    assert [len(track.scores) for track in tracks] == [3, 1]
