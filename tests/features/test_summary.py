"""Statistics over frames against NumPy and SciPy."""

import csv
import io

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.stats

from experiments.benchmarks import parity
from mgr_jax.features import summary

FRAMES = (5 + 3 * np.random.default_rng(0).gamma(2.0, size=(2, 3, 50, 14))).astype(np.float32)


def test_mean_covariance_of_14_coefficients_has_119_values():
    ours = np.asarray(summary.mean_covariance(FRAMES))
    assert ours.shape == (2, 3, 119)
    for i in np.ndindex(2, 3):
        covariance = np.cov(FRAMES[i].astype(np.float64).T)
        triangle = [covariance[r, c] for r in range(14) for c in range(r, 14)]
        np.testing.assert_allclose(ours[i], [*FRAMES[i].mean(0), *triangle], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "name,reference",
    [
        ("mean", lambda x: np.mean(x, axis=0)),
        ("std", lambda x: np.std(x, axis=0)),
        ("min", lambda x: np.min(x, axis=0)),
        ("max", lambda x: np.max(x, axis=0)),
        ("skew", lambda x: scipy.stats.skew(x, axis=0)),
        ("kurtosis", lambda x: scipy.stats.kurtosis(x, axis=0)),
        ("percentiles", lambda x: np.percentile(x, (25, 50, 75), axis=0).ravel()),
    ],
)
def test_statistic_equals_its_reference(name, reference):
    ours = jax.jit(summary.STATISTICS[name])(FRAMES)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(ours[i], reference(FRAMES[i].astype(np.float64)), rtol=1e-4)


def test_percentiles_of_chosen_levels_equals_numpys():
    ours = summary.percentiles(FRAMES[0, 0], q=(0, 10, 99.5))
    np.testing.assert_allclose(
        ours, np.percentile(FRAMES[0, 0], (0, 10, 99.5), axis=0).ravel(), rtol=1e-5
    )


def test_summarize_puts_statistics_one_after_the_other():
    ours = summary.summarize(FRAMES, statistics=("max", "mean"))
    np.testing.assert_array_equal(ours[..., :14], FRAMES.max(axis=-2))
    assert ours.shape == (2, 3, 28)


def test_statistics_of_a_constant_and_their_gradients_are_finite():
    constant = jnp.full((6, 3), 2.5)
    for name, function in summary.STATISTICS.items():
        assert np.isfinite(function(constant)).all(), name
        gradient = jax.jit(jax.grad(lambda x, f=function: jnp.sum(f(x))))(constant)
        assert np.isfinite(gradient).all(), name


def test_kaggle_vector_equals_librosas_statistics():
    clip = parity.signals(30_000)["chords"]
    ours = np.asarray(jax.jit(summary.kaggle_vector)(clip))
    features = librosa.feature
    series = [
        features.chroma_stft(y=clip, sr=22050),
        features.rms(y=clip),
        features.spectral_centroid(y=clip, sr=22050),
        features.spectral_bandwidth(y=clip, sr=22050),
        features.spectral_rolloff(y=clip, sr=22050),
        features.zero_crossing_rate(clip),
        *features.mfcc(y=clip, sr=22050, n_mfcc=20),
    ]
    theirs = [f(x) for x in series for f in (np.mean, np.var)]
    assert len(summary.KAGGLE_COLUMNS) == len(theirs) == 52
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_kaggle_columns_are_those_of_the_table():
    # The header of features_30_sec.csv, without what is not computed here.
    header = (
        "chroma_stft_mean,chroma_stft_var,rms_mean,rms_var,spectral_centroid_mean,"
        "spectral_centroid_var,spectral_bandwidth_mean,spectral_bandwidth_var,rolloff_mean,"
        "rolloff_var,zero_crossing_rate_mean,zero_crossing_rate_var"
    )
    [names] = csv.reader(io.StringIO(header))
    names += [f"mfcc{i}_{kind}" for i in range(1, 21) for kind in ("mean", "var")]
    assert list(summary.KAGGLE_COLUMNS) == names


@pytest.mark.parametrize(
    "call,named",
    [
        (lambda: summary.mean(np.ones(3)), "frames"),
        (lambda: summary.mean_covariance(np.ones((1, 3))), "frames"),
        (lambda: summary.std(np.ones((0, 3))), "frames"),
        (lambda: summary.percentiles(FRAMES, q=(101,)), "q is"),
        (lambda: summary.percentiles(FRAMES, q=()), "q is"),
        (lambda: summary.summarize(FRAMES, statistics=("mode",)), "statistics"),
        (lambda: summary.summarize(FRAMES, statistics=()), "statistics"),
        (lambda: summary.kaggle_vector(np.float32(0)), "waveform"),
    ],
)
def test_bad_arguments_raise_and_are_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
