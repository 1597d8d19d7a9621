"""Windows and filter banks."""

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal

from mgr_jax.features import filters


@pytest.mark.parametrize("name", ["hann", "hamming", "boxcar"])
@pytest.mark.parametrize("length", [1, 2, 33, 2048])
def test_window_equals_scipys_periodic_window(name, length):
    ours = filters.window(name, length)
    np.testing.assert_allclose(ours, scipy.signal.get_window(name, length), atol=1e-15)


def test_periodic_hann_windows_at_half_overlap_add_to_one():
    window = filters.window("hann", 64)
    np.testing.assert_allclose(window[:32] + window[32:], 1, atol=1e-15)


@pytest.mark.parametrize("htk", [False, True])
def test_mel_to_hz_inverts_hz_to_mel(htk):
    frequencies = np.linspace(0, 11025, 300)
    mels = filters.hz_to_mel(frequencies, htk=htk)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(frequencies, htk=htk), rtol=1e-12)
    np.testing.assert_allclose(filters.mel_to_hz(mels, htk=htk), frequencies, rtol=1e-12, atol=1e-9)


def test_slaney_filters_have_equal_areas():
    bank = filters.mel_filter_bank(sample_rate=22050, n_fft=2**15, n_mels=40)
    np.testing.assert_allclose(bank.sum(axis=1) * 22050 / 2**15, 1, rtol=2e-3)


@pytest.mark.parametrize("dct_type", [2, 3])
@pytest.mark.parametrize("norm", ["ortho", None])
def test_dct_basis_equals_scipys_transform(dct_type, norm):
    ours = filters.dct_basis(n_mels=31, n_mfcc=13, dct_type=dct_type, norm=norm)
    theirs = scipy.fft.dct(np.eye(31), axis=0, type=dct_type, norm=norm)[:13]
    np.testing.assert_allclose(ours, theirs, atol=2e-7)


def test_orthonormal_dct_preserves_energy():
    basis = filters.dct_basis(n_mels=20, n_mfcc=20)
    np.testing.assert_allclose(basis @ basis.T, np.eye(20), atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_chroma": 24},
        {"tuning": -0.31},
        {"octwidth": None},
        {"ctroct": 4.0, "octwidth": 1.0},
        {"base_c": False},
    ],
)
def test_chroma_filter_bank_equals_librosas(options):
    ours = filters.chroma_filter_bank(sample_rate=22050, n_fft=2048, **options)
    theirs = librosa.filters.chroma(sr=22050, n_fft=2048, **options)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    "options,named",
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"n_fft": 0}, "n_fft"),
        ({"n_mels": 0}, "n_mels"),
        ({"fmin": -1.0}, "fmin"),
        ({"fmin": 5000.0, "fmax": 5000.0}, "fmin"),
        ({"fmin": 11025.0}, "fmin"),
        ({"fmax": 12000.0}, "fmax"),
        ({"norm": "area"}, "norm"),
    ],
)
def test_mel_filter_bank_raises_for_bad_arguments(options, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        filters.mel_filter_bank(**{"sample_rate": 22050, "n_fft": 2048, **options})


@pytest.mark.parametrize(
    "options,named",
    [
        ({"n_mfcc": 0}, "n_mfcc"),
        ({"n_mfcc": 41}, "n_mfcc"),
        ({"dct_type": 1}, "dct_type"),
        ({"norm": "l2"}, "norm"),
    ],
)
def test_dct_basis_raises_for_bad_arguments(options, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        filters.dct_basis(**{"n_mels": 40, "n_mfcc": 13, **options})


@pytest.mark.parametrize(
    "options,named",
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"n_fft": -1}, "n_fft"),
        ({"n_chroma": 0}, "n_chroma"),
        ({"octwidth": 0.0}, "octwidth"),
    ],
)
def test_chroma_filter_bank_raises_for_bad_arguments(options, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        filters.chroma_filter_bank(**{"sample_rate": 22050, "n_fft": 2048, **options})


def test_window_raises_for_bad_arguments():
    with pytest.raises(ValueError, match="window is 'kaiser'"):
        filters.window("kaiser", 8)
    with pytest.raises(ValueError, match="length is 0"):
        filters.window("hann", 0)
    with pytest.raises(ValueError, match="window has shape"):
        filters.window(np.ones(7), 8)


def test_filter_banks_are_constants():
    bank = filters.mel_filter_bank(sample_rate=22050, n_fft=2048)
    with pytest.raises(ValueError, match="read-only"):
        bank[0, 0] = 1
