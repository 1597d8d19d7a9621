"""Occlusion finds the cell that a score depends on."""

import numpy as np

from mgr_jax.explain import occlusion

RATE = 8000


def test_occlude_finds_a_tone_burst():
    time = np.arange(6 * RATE) / RATE
    rng = np.random.default_rng(0)
    burst = np.where((time > 2.2) & (time < 2.8), np.sin(2 * np.pi * 3000 * time), 0)
    waveform = burst + 0.01 * rng.normal(size=time.size)

    def score(waveforms):
        spectra = np.abs(np.fft.rfft(waveforms, axis=1)) ** 2
        hz = np.fft.rfftfreq(time.size, 1 / RATE)
        return spectra[:, hz > 2500].sum(axis=1)

    seconds, hz = occlusion.grid(6.0, RATE)
    result = occlusion.occlude(score, waveform, seconds, hz, sample_rate=RATE)
    assert result.values.shape == (occlusion.COLUMNS, occlusion.BANDS)
    time_index, band_index = np.unravel_index(result.values.argmax(), result.values.shape)
    assert seconds[time_index] <= 2.5 <= seconds[time_index + 1]
    assert hz[band_index] <= 3000 <= hz[band_index + 1]
    assert result.values.max() > 0.9 * result.values.sum()
