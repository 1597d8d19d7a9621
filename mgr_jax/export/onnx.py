"""ONNX by jax2onnx: a waveform in, probabilities out, for any batch; checked with onnxruntime.

Run by `experiments.export` in an environment of its own, `python -m mgr_jax.export.onnx BUNDLE
FOLDER`: jax2onnx pins an Orbax that training cannot use. What ONNX lacks is written otherwise: the
Fourier transform is a product with its matrix, pooling is one operation, and the BBNN is computed
layer by layer.
"""

import contextlib
import pathlib
import sys
from collections.abc import Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mgr_jax import config as config_lib
from mgr_jax import system as system_lib
from mgr_jax.errors import UserError
from mgr_jax.export import bundle, contract, stablehlo
from mgr_jax.features import filters, framing, frontend
from mgr_jax.models import bbnn, make_model, onednn
from mgr_jax.ops import max_pool as pooling
from mgr_jax.ops.cpu import convolution as convolution_gradients
from mgr_jax.system import System
from mgr_jax.training import steps

# Largest difference of a probability from JAX's that is accepted.
TOLERANCE = 1e-4
_OPSET = 21


def write(folder: pathlib.Path, system: System) -> float:
    """Writes `model.onnx`, `model.json` and `run.py` into `folder`.

    Returns:
      The largest difference of a probability between onnxruntime and JAX on noise and tones.

    Raises:
      UserError: if the system cannot be converted, or the difference is above `TOLERANCE`.
      OSError: if the folder cannot be written.
    """
    import jax2onnx
    import onnxruntime

    window, names = config_lib.window_length(system.config), contract.inputs(system.config)
    shapes = {
        "waveform": jax.ShapeDtypeStruct(("B", window), jnp.float32),
        "num_samples": jax.ShapeDtypeStruct(("B",), jnp.int32),
    }
    with _convertible():
        model = jax2onnx.to_onnx(
            stablehlo.make_function(system),
            [(*shapes[name].shape,) if name == "waveform" else shapes[name] for name in names],
            model_name=system.config.model.name,
            opset=_OPSET,
            input_names=names,
            output_names=["probabilities"],
        )
    blob = model.SerializeToString()
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    function = jax.jit(stablehlo.make_function(system))
    largest = 0.0
    for batch in (1, 3):
        given = _examples(batch, window, names)
        ours = np.asarray(function(*given.values()))
        theirs = session.run(None, given)[0]
        largest = max(largest, float(np.abs(ours - theirs).max()))
    if not largest <= TOLERANCE:
        raise UserError(f"probabilities of the ONNX model are off by {largest:.1e}; not written")
    more = {"opset": _OPSET, "largest_difference": largest}
    contract.write(folder, system, "onnx", blob, more)
    return largest


@contextlib.contextmanager
def _convertible() -> Iterator[None]:
    """Puts in, while the function is traced, what ONNX can express."""
    with (
        mock.patch.object(frontend.spectral, "mel_spectrogram", _mel_spectrogram),
        mock.patch.object(system_lib, "make_model", _make_model),
        mock.patch.object(pooling, "max_pool", _max_pool),
        # Choices by platform.
        mock.patch.object(convolution_gradients, "FEW_CHANNELS", 0),
        mock.patch.object(onednn, "suits", lambda *_: False),
        mock.patch.object(steps, "num_frames", _num_frames),
    ):
        yield


def _mel_spectrogram(
    waveform: jax.Array,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    fmin: float,
    fmax: float | None,
) -> jax.Array:
    """`spectral.mel_spectrogram` of `[B, T]` without an FFT: a windowed cosine and sine matrix."""
    cut = framing.checked_framing(waveform, n_fft, hop_length, True, "constant")
    frames = framing.frames(waveform, cut)
    angles = 2 * np.pi / n_fft * (np.outer(np.arange(n_fft), np.arange(1 + n_fft // 2)) % n_fft)
    window = filters.window("hann", n_fft)[:, None]
    real = frames @ (window * np.cos(angles)).astype(np.float32)
    imaginary = frames @ (window * np.sin(angles)).astype(np.float32)
    bank = filters.mel_filter_bank(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax
    )
    return (real * real + imaginary * imaginary) @ bank.T


def _make_model(model: config_lib.Model, *, num_classes: int) -> nn.Module:
    network = make_model(model, num_classes=num_classes)
    return network.clone(fused=False) if isinstance(network, bbnn.BBNN) else network


def _max_pool(x: jax.Array, *, window, strides, padding) -> jax.Array:
    """`pooling.max_pool` as the one operation that ONNX has for it."""
    return nn.max_pool(x, window_shape=window, strides=strides, padding=padding)


def _num_frames(features: config_lib.Features, num_samples: jax.Array) -> jax.Array:
    """`frontend.num_frames` of `[B]`, by the division that ONNX has; nothing is negative."""
    hop_length = jnp.full_like(num_samples, features.hop_length)
    return 1 + jax.lax.div(num_samples - features.n_fft % 2, hop_length)


def _examples(batch: int, window: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Tones in noise, in float32 `[B, T]`, and how much of each window is audio."""
    generator = np.random.default_rng(batch)
    time = np.arange(window)
    tones = np.sin(time * generator.uniform(0.01, 1.0, (batch, 1)))
    waveform = 0.3 * tones + 0.05 * generator.normal(size=(batch, window))
    given = {
        "waveform": waveform.astype(np.float32),
        "num_samples": np.full(batch, window, np.int32),
    }
    return {name: given[name] for name in names}


def main(source: str, folder: str) -> None:
    """Converts a bundle; what goes wrong ends in one line and exit code 1."""
    try:
        difference = write(pathlib.Path(folder), bundle.read(source))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"checked   onnxruntime differs by {difference:.1e} at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
