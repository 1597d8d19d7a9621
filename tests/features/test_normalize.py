"""Fitted normalisers."""

import numpy as np
import pytest

from mgr_jax.features import normalize

X = (np.random.default_rng(0).normal(size=(10, 6, 4)) * [1, 2, 3, 0] - [0, 50, 100, 7]).astype(
    np.float32
)


def fit(kind, parts):
    moments = None
    for part in parts:
        moments = normalize.accumulate(moments, part, kind=kind)
    return normalize.finish(moments)


@pytest.mark.parametrize("kind,axes", [("global", None), ("bin", (0, 1))])
def test_fit_equals_numpys_moments_for_any_batches(kind, axes):
    for parts in ([X], [X[:3], X[3:]], np.split(X, 10)):
        normalizer = fit(kind, parts)
        deviation = X.astype(np.float64).std(axis=axes)
        np.testing.assert_allclose(normalizer["mean"], X.mean(axis=axes), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            normalizer["scale"], np.where(deviation == 0, 1, deviation), rtol=1e-5
        )


@pytest.mark.parametrize("kind", ["global", "bin"])
def test_normalized_training_part_has_mean_0_and_deviation_1(kind):
    out = np.asarray(normalize.apply(fit(kind, [X]), X, kind=kind))
    axes = None if kind == "global" else (0, 1)
    np.testing.assert_allclose(out.mean(axis=axes), 0, atol=1e-5)
    expected = 1 if kind == "global" else [1, 1, 1, 0]
    np.testing.assert_allclose(out.std(axis=axes), expected, atol=1e-5)


def test_clip_normalizes_every_example_by_itself():
    out = np.asarray(normalize.apply(None, X, kind="clip"))
    np.testing.assert_allclose(out.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_array_equal(normalize.apply(None, np.full((2, 3, 4), 5.0), kind="clip"), 0)


def test_none_changes_nothing():
    np.testing.assert_array_equal(normalize.apply(None, X, kind="none"), X)


def test_bad_arguments_raise_and_are_named():
    with pytest.raises(ValueError, match=r"^kind is 'clip'"):
        normalize.accumulate(None, X, kind="clip")
    with pytest.raises(ValueError, match=r"^kind is 'minmax'"):
        normalize.apply(None, X, kind="minmax")
    with pytest.raises(ValueError, match=r"^normalizer is None"):
        normalize.apply(None, X, kind="bin")
