"""Laws of chroma and tuning, and bad arguments. Their parity with librosa is in test_parity."""

import numpy as np
import pytest

from mgr_jax.features import chroma, spectral

RATE = {"sample_rate": 22050}
POWER = np.ones((3, 257), np.float32)


def test_chroma_stft_of_a_note_is_its_pitch_class():
    time = np.arange(22050) / 22050
    for midi in range(60, 72):
        note = np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * time).astype(np.float32)
        power = spectral.spectrogram(note)
        energy = chroma.chroma_stft(power, tuning=0.0, **RATE)[2:-2]
        assert (energy.argmax(axis=-1) == midi - 60).all()


@pytest.mark.parametrize("tuning", [-0.3, 0.0, 0.25])
def test_estimate_tuning_finds_a_detuned_chord(tuning):
    time = np.arange(22050) / 22050
    chord = sum(np.sin(2 * np.pi * 220 * 2 ** ((n + tuning) / 12) * time) for n in (0, 7, 12, 19))
    power = spectral.spectrogram(chord.astype(np.float32), n_fft=4096)
    assert float(chroma.estimate_tuning(power, **RATE)) == pytest.approx(tuning, abs=0.03)


def test_estimate_tuning_without_a_peak_is_zero():
    assert float(chroma.estimate_tuning(np.zeros((5, 1025), np.float32), **RATE)) == 0
    assert float(chroma.estimate_tuning(np.ones((5, 1025), np.float32), sample_rate=200)) == 0


@pytest.mark.parametrize(
    "call,named",
    [
        (lambda: chroma.chroma_stft(POWER, norm=3, **RATE), "norm"),
        (lambda: chroma.chroma_stft(POWER, n_chroma=0, **RATE), "bins_per_octave|n_chro"),
        (lambda: chroma.estimate_tuning(POWER, resolution=1, **RATE), "resolution"),
    ],
)
def test_bad_arguments_raise_and_are_named(call, named):
    with pytest.raises(ValueError, match=f"^({named})"):
        call()
