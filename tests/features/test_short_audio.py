"""Audio shorter than the window: padding and repetitions do not count."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from mgr_jax.config import Features
from mgr_jax.data import windows
from mgr_jax.features import frontend, normalize, summary

SMALL = Features(
    kind="mfcc_stats", n_fft=512, hop_length=256, n_mels=40, image_height=30, image_width=50
)
NOISE = np.random.default_rng(0).normal(0, 0.1, (4, 20_000)).astype(np.float32)
NOISE *= np.linspace(0.01, 1, 20_000, dtype=np.float32)  # A later frame would raise the maximum.
LENGTHS = np.array([20_000, 12_345, 5_120, 700], np.int32)


def padded(value=0.0):
    return np.where(np.arange(20_000) < LENGTHS[:, None], NOISE, np.float32(value))


def filled():
    return np.stack([windows.repeat(x, n) for x, n in zip(padded(), LENGTHS, strict=True)])


@functools.cache
def compiled(**fields):
    return jax.jit(frontend.make_frontend(dataclasses.replace(SMALL, **fields)))


def test_mfcc_stats_of_a_padded_clip_are_librosas_of_the_clip():
    ours = np.asarray(compiled()(padded(), None, LENGTHS))
    rows, columns = np.triu_indices(14)
    for row, clip, length in zip(ours, NOISE, LENGTHS, strict=True):
        mfcc = librosa.feature.mfcc(
            y=clip[:length],
            sr=22050,
            n_mfcc=14,
            n_fft=512,
            hop_length=256,
            n_mels=40,
        )
        expected = np.concatenate([mfcc.mean(axis=1), np.cov(mfcc)[rows, columns]])
        np.testing.assert_allclose(row, expected, atol=1e-5 * np.abs(expected).max())


def test_mfcc_stats_depend_on_nothing_after_the_audio():
    expected = compiled()(padded(), None, LENGTHS)
    np.testing.assert_array_equal(compiled()(padded(0.9), None, LENGTHS), expected)
    one_by_one = jax.vmap(frontend.make_frontend(SMALL), in_axes=(0, None, 0))
    close = {"atol": 1e-5 * float(jnp.abs(expected).max())}
    np.testing.assert_allclose(one_by_one(padded(0.9), None, LENGTHS), expected, **close)


@pytest.mark.parametrize("kind", ["mfcc_stats", "logmel", "mel_image"])
def test_full_clips_give_bitwise_what_they_give_without_num_samples(kind):
    full = np.full(4, 20_000, np.int32)
    expected = np.asarray(compiled(kind=kind)(NOISE))
    actual = np.asarray(compiled(kind=kind)(NOISE, None, full))
    if kind == "mfcc_stats":  # A sum divided by a count, in place of a mean.
        np.testing.assert_allclose(actual, expected, atol=1e-6 * np.abs(expected).max())
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("kind", ["logmel", "mel_image"])
def test_short_audio_is_repeated_for_frames_and_pictures(kind):
    repeated = np.stack([np.resize(x[:n], 20_000) for x, n in zip(NOISE, LENGTHS, strict=True)])
    actual = compiled(kind=kind)(filled(), None, LENGTHS)
    np.testing.assert_array_equal(actual, compiled(kind=kind)(repeated))


def test_repeat_leaves_one_percent_of_padding_and_waveforms_without_audio():
    lengths = (20_000, 19_800, 19_799, 0)
    out = [windows.repeat(x, n) for x, n in zip(NOISE, lengths, strict=True)]
    np.testing.assert_array_equal([out[i] for i in (0, 1, 3)], NOISE[[0, 1, 3]])
    np.testing.assert_array_equal(out[2], np.resize(NOISE[2, :19_799], 20_000))


def test_mean_covariance_counts_the_first_frames():
    frames = np.random.default_rng(1).normal(size=(3, 9, 4)).astype(np.float32)
    out = summary.mean_covariance(frames, np.array([9, 5, 1]))
    np.testing.assert_allclose(out[0], summary.mean_covariance(frames)[0], atol=1e-6)
    np.testing.assert_allclose(out[1], summary.mean_covariance(frames[1, :5]), atol=1e-6)
    np.testing.assert_array_equal(out[2], [*frames[2, 0], *np.zeros(10)])


@pytest.mark.parametrize("kind", ["global", "bin"])
def test_fit_normalizer_leaves_out_padding_and_empty_rows(kind):
    features = dataclasses.replace(SMALL, kind="logmel", normalize=kind)
    expected = None
    for x, length in zip(NOISE, LENGTHS, strict=True):
        # The frames of the audio, of the repeated clip as the network reads it.
        repeated = np.resize(x[:length], 20_000)[None]
        frames = compiled(kind="logmel")(repeated)[:, : frontend.num_frames(features, int(length))]
        expected = normalize.accumulate(expected, frames, kind=kind)
    expected = normalize.finish(expected)
    empty = (np.zeros((4, 20_000), np.float32), np.zeros(4, np.int32))
    actual = frontend.fit_normalizer(features, [empty, (filled(), LENGTHS), empty])
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4)


def test_clip_normalizer_standardises_the_frames_of_the_audio():
    out = np.asarray(compiled(kind="logmel", normalize="clip")(filled(), None, LENGTHS))
    for x, length in zip(out, LENGTHS, strict=True):
        real = x[: frontend.num_frames(SMALL, int(length))]
        assert (real.mean(), real.std()) == pytest.approx((0, 1), abs=1e-4)


@pytest.mark.parametrize("fields", [{}, {"kind": "logmel", "normalize": "clip"}])
def test_rows_without_audio_give_finite_values_and_gradients(fields):
    function = frontend.make_frontend(dataclasses.replace(SMALL, **fields))

    def loss(x):
        return jnp.sum(function(x, None, jnp.array([4096, 1500, 0])))

    value, gradient = jax.jit(jax.value_and_grad(loss))(NOISE[:3, :4096] * [[1], [1], [0]])
    assert np.isfinite(value) and np.isfinite(gradient).all()
