"""Scores by models of other artists."""

import dataclasses

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import named_configs
from mgr_jax.classical import out_of_fold
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.errors import UserError


def _data(*, num_artists=8, num_features=6, labels="xy"):
    """Two tracks of two windows of each artist; an artist's class shifts its features."""
    groups = np.repeat(np.arange(num_artists), 2)
    truth = groups % len(labels)
    tracks = tuple(
        Track(f"t{i:02d}", "", labels[label], f"a{group}", "same" if i < 2 else "")
        for i, (group, label) in enumerate(zip(groups, truth, strict=True))
    )
    windows = np.repeat(np.arange(len(groups)), 2)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(windows), num_features)) + 3 * truth[windows, None]
    return out_of_fold.Data(
        named_configs.get("logistic"),
        Catalog("mine", tracks, tuple(labels)),
        x.astype(np.float32),
        windows,
        truth,
        tuple(f"a{group}" for group in groups),
    )


def test_folds_keep_artists_whole_and_every_track_is_in_one():
    """Also one whose recording has two labels, which is in no fold of the training."""
    data = _data().with_labels(np.array([1, 0] + [0, 0, 1, 1] * 3 + [1, 1]))
    folds = out_of_fold._folds(data, seed=0)
    assert folds.min() == 0 and len(folds) == 16
    for group in set(data.groups):
        assert len(set(folds[np.array(data.groups) == group])) == 1
    assert data.catalog.tracks[0].label == "y" and data.catalog.tracks[1].label == "x"
    assert not np.array_equal(folds, out_of_fold._folds(data, seed=1))


def test_a_class_of_one_artist_is_refused():
    data = _data(num_artists=4).with_labels(np.array([1, 1, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(UserError, match="class 'y' has a single artist"):
        out_of_fold._folds(data, seed=0)


def test_checking_config_is_fast():
    config = config_lib.Config()
    own = out_of_fold.checking_config(config)
    assert (own.model.name, own.features.kind) == ("logistic", "mfcc_stats")
    assert own.data is config.data
    for name in ("svm", "lda"):
        given = named_configs.get(f"musicnn:{name}")
        own = out_of_fold.checking_config(given)
        assert (own.model.name, own.features.kind) == ("logistic", "musicnn")
        assert given.model.name == name
    arrays = dataclasses.replace(config, data=dataclasses.replace(config.data, name="arrays"))
    with pytest.raises(UserError, match=r"--labels: model.name 'bbnn' is too slow"):
        out_of_fold.checking_config(arrays)


@pytest.mark.slow
def test_scores_do_not_know_the_own_label():
    """Labels of two artists are exchanged: their tracks are scored as before."""
    data = _data(num_artists=12)
    given = data.labels.copy()
    given[:2], given[2:4] = 1, 0
    scored = out_of_fold.score(data.with_labels(given))
    np.testing.assert_allclose(np.exp(scored.log_probabilities).sum(axis=1), 1, atol=1e-9)
    assert (scored.log_probabilities.argmax(axis=1) == data.labels).mean() > 0.9
    assert scored.ids[0] == "t00" and scored.names == ("x", "y")
    assert scored.method.endswith("3 x 5 folds by artist")
