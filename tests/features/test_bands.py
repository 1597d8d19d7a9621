"""Bands pooled from linear bins."""

import numpy as np
import pytest

from mgr_jax.features import bands

OPTIONS = {"sample_rate": 22050, "n_fft": 256}


@pytest.mark.parametrize("scale", ["mel", "log"])
@pytest.mark.parametrize("n_bands", [8, 40])
def test_pool_bands_keeps_a_constant(scale, n_bands):
    fmin = 60.0 if scale == "mel" else 200.0
    x = np.full((2, 5, 128), -3.25, np.float32)
    pooled = bands.pool_bands(x, scale=scale, n_bands=n_bands, fmin=fmin, **OPTIONS)
    assert pooled.shape == (2, 5, n_bands)
    np.testing.assert_allclose(pooled, -3.25, rtol=1e-6)


def test_pool_bands_is_the_mean_of_the_interpolated_spectrum_under_a_triangle():
    x = np.random.default_rng(0).normal(size=128)
    fine = np.arange(0, 127, 1e-3)
    mel = 2595 * np.log10(1 + fine * 22050 / 256 / 700)
    edges = np.linspace(2595 * np.log10(1 + 200 / 700), 2595 * np.log10(1 + 9000 / 700), 12)
    values = np.interp(fine, np.arange(128), x)
    expected = []
    for start, middle, stop in zip(edges, edges[1:], edges[2:], strict=False):
        triangle = np.interp(mel, [start, middle, stop], [0, 1, 0], left=0, right=0)
        expected.append((triangle * values).sum() / triangle.sum())
    pooled = bands.pool_bands(
        x[None].astype(np.float32), scale="mel", n_bands=10, fmin=200, fmax=9000, **OPTIONS
    )
    np.testing.assert_allclose(pooled[0], expected, atol=5e-3)


def test_pool_bands_linear_is_the_input():
    x = np.ones((3, 7), np.float32)
    np.testing.assert_array_equal(bands.pool_bands(x, scale="linear", n_bands=2, **OPTIONS), x)


def test_pool_bands_log_bands_are_evenly_spaced_in_octaves():
    centers = bands.band_weights("log", 6, 128, 22050.0, 256, 300.0, 9600.0)
    peak = centers.argmax(axis=0) * 22050 / 256
    steps = np.diff(np.log2(peak))
    np.testing.assert_allclose(steps, 5 / 7, atol=0.25)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"scale": "bark"}, "scale"),
        ({"n_bands": 0}, "n_bands"),
        ({"fmin": 5000.0, "fmax": 400.0}, "fmin"),
        ({"fmax": 30000.0}, "fmax"),
    ],
)
def test_pool_bands_raises_for_bad_arguments(options, word):
    values = {"scale": "mel", "n_bands": 8} | OPTIONS | options
    with pytest.raises(ValueError, match=word):
        bands.pool_bands(np.zeros((4, 128), np.float32), **values)
