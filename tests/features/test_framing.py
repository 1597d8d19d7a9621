"""Frames, and work on them block by block."""

import itertools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from mgr_jax import ops
from mgr_jax.features import framing, spectral

NOISE = np.random.default_rng(0).normal(size=(3, 5000)).astype(np.float32)


def tiered(*default, **values):
    """The product of `values` as parameters: those in `default` as they are, the others `e2e`."""
    return pytest.mark.parametrize(
        ",".join(values),
        [
            pytest.param(*choice, marks=() if choice in default else pytest.mark.e2e)
            for choice in itertools.product(*values.values())
        ],
    )


@tiered(
    (1, 1),
    (7, 64),
    (64, 7),
    (100, 1),
    (100, 50),
    frame_length=(1, 7, 64, 100),
    hop_length=(1, 7, 50, 64, 101),
)
def test_frame_equals_librosas_frames(frame_length, hop_length):
    ours = framing.frame(NOISE, frame_length=frame_length, hop_length=hop_length)
    theirs = librosa.util.frame(NOISE, frame_length=frame_length, hop_length=hop_length)
    np.testing.assert_array_equal(ours, np.swapaxes(theirs, -1, -2))


@tiered(
    ((64, 16), (True, "constant")),
    ((63, 20), (True, "reflect")),
    ((32, 100), (False, "constant")),
    lengths=((64, 16), (64, 64), (63, 20), (32, 100), (512, 5)),
    ends=((True, "constant"), (True, "reflect"), (False, "constant")),
)
def test_map_frames_in_blocks_equals_all_frames_at_once(lengths, ends):
    cut = ops.Framing(*lengths, *ends)

    def function(frames):
        return jnp.stack([frames.sum(-1), frames[..., 0], frames[..., -1]], axis=-1)

    @jax.jit
    def both(waveform):
        whole = function(ops.frames(waveform, cut))
        block_samples = 3 * 4 * cut.n_fft
        return whole, ops.map_frames(function, waveform, cut, block_samples=block_samples)

    for samples in (663, 4999):
        whole, blocks = both(NOISE[:, :samples])
        np.testing.assert_allclose(blocks, whole, atol=2e-5)


def test_gradient_through_blocks_equals_that_through_all_frames():
    cut = ops.Framing(64, 20, True, "reflect")
    weights = np.random.default_rng(1).normal(size=(3, 250, 33)).astype(np.float32)

    def power(frames):
        spectrum = jnp.fft.rfft(frames)
        return jnp.square(spectrum.real) + jnp.square(spectrum.imag)

    def blocks(waveform):
        return jnp.sum(weights * ops.map_frames(power, waveform, cut, block_samples=3 * 640))

    def whole(waveform):
        return jnp.sum(weights * power(ops.frames(waveform, cut)))

    waveform = jnp.asarray(NOISE[:, :4990])
    gradient = jax.jit(jax.grad(blocks))(waveform)
    np.testing.assert_allclose(gradient, jax.jit(jax.grad(whole))(waveform), rtol=1e-3, atol=1e-2)


def test_map_frames_calls_the_function_on_blocks():
    cut = ops.Framing(64, 16, True, "constant")
    shapes = []

    def function(frames):
        shapes.append(frames.shape)
        return frames[..., :1]

    ops.map_frames(function, jnp.asarray(NOISE), cut, block_samples=3 * 10 * 64)
    assert (3, 10, 64) in shapes


@tiered(
    (1, "reflect"),
    (1024, "constant"),
    samples=(1, 2, 100, 1023, 1024, 1025),
    pad_mode=framing.PAD_MODES,
)
def test_stft_of_a_clip_shorter_than_the_pad_is_librosas(samples, pad_mode):
    clip = NOISE[0, :samples]
    ours = np.asarray(spectral.stft(clip, pad_mode=pad_mode)).T
    with pytest.warns(UserWarning, match="too large"):
        theirs = librosa.stft(clip, pad_mode=pad_mode)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_frame_raises_for_bad_arguments():
    with pytest.raises(ValueError, match="frame_length is 0"):
        framing.frame(NOISE, frame_length=0, hop_length=1)
    with pytest.raises(ValueError, match="hop_length is 0"):
        framing.frame(NOISE, frame_length=4, hop_length=0)
    with pytest.raises(ValueError, match="fewer than frame_length 6000"):
        framing.frame(NOISE, frame_length=6000, hop_length=1)
    with pytest.raises(ValueError, match="scalar"):
        framing.frame(np.float32(0), frame_length=1, hop_length=1)
