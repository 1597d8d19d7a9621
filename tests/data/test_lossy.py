"""Lossy codecs keep length and place of the music."""

import numpy as np
import pytest

from mgr_jax.data import lossy

RATE = 22050
TIME = np.arange(RATE) / RATE
WAVE = (0.3 * np.sin(2 * np.pi * 440 * TIME) * np.sin(2 * np.pi * 3 * TIME)).astype(np.float32)


@pytest.mark.parametrize("kbits", [64, 32, 16])
def test_mp3_keeps_length_and_place(kbits):
    coded = lossy.mp3(WAVE, kbits, sample_rate=RATE)
    assert coded.shape == WAVE.shape and coded.dtype == np.float32
    assert 1e-4 < np.sqrt(np.mean((coded - WAVE) ** 2)) < 0.02
    np.testing.assert_array_equal(coded, lossy.mp3(WAVE, kbits, sample_rate=RATE))


def test_mp3_of_few_bits_loses_high_frequencies_and_keeps_peaks():
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    coded = np.abs(np.fft.rfft(lossy.mp3(noise, 16, sample_rate=RATE)))
    assert coded[9000:].mean() < 0.1 * coded[1000:3000].mean()
    assert np.abs(lossy.mp3(noise, 160, sample_rate=RATE)).max() > 2


def test_mp3_of_0_is_the_identity():
    assert lossy.mp3(WAVE, 0, sample_rate=RATE) is WAVE


@pytest.mark.parametrize(
    "kbits,rate,message", [(320, RATE, "must be 8 to 160"), (64, 23000, "no sample rate of 23000")]
)
def test_bad_arguments_are_named(kbits, rate, message):
    with pytest.raises(ValueError, match=message):
        lossy.mp3(WAVE, kbits, sample_rate=rate)
    with pytest.raises(ValueError, match=message):
        lossy.check(kbits, sample_rate=rate)
