"""ONNX: the reference formulas that are converted, and conversion in its environment."""

import json
import os
import pathlib
import subprocess

import jax
import numpy as np
import pytest

from mgr_jax import ops
from mgr_jax.export import bundle, onnx, stablehlo
from mgr_jax.features import spectral
from tests.export import trained

ROOT = pathlib.Path(__file__).parents[2]
# As the system is computed, and as it is converted.
_FUNCTIONS = (stablehlo.make_function, onnx.make_function)
_PICTURE = {"features_n_mels": 128, "features_n_fft": 2048, "features_hop_length": 32}


@pytest.mark.parametrize("n_fft", [256, 255])
def test_mel_spectrogram_by_a_matrix_is_that_of_the_fft(n_fft):
    waveform = trained.noise(4000)[None]
    settings = {"sample_rate": 8000, "n_fft": n_fft, "hop_length": 100, "n_mels": 12}
    expected = spectral.mel_spectrogram(waveform, fmin=50.0, fmax=None, **settings)
    with ops.implementation("reference"):
        by_matrix = spectral.mel_spectrogram(waveform, fmin=50.0, fmax=None, **settings)
    np.testing.assert_allclose(by_matrix, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("name", ["bbnn", "logistic"])
def test_what_is_converted_gives_the_probabilities_of_the_system(name):
    system = trained.make_system(name)
    waveforms = np.stack([trained.noise(4000, seed=seed) for seed in range(3)])
    expected = jax.jit(stablehlo.make_function(system))(waveforms)
    converted = jax.jit(onnx.make_function(system))(waveforms)
    np.testing.assert_allclose(converted, expected, atol=1e-5)
    programs = [str(jax.make_jaxpr(f(system))(waveforms)) for f in _FUNCTIONS]
    assert ["fft" in program for program in programs] == [True, False]


@pytest.mark.parametrize("name", ["bbnn", "cnn", "cnn_lstm", "rnn"])
def test_what_is_converted_makes_no_choice_by_platform(name):
    fields = _PICTURE if name.startswith("cnn") else {}
    system = trained.make_system(name, **fields)
    inputs = np.zeros((1, 4000), np.float32), np.array([4000], np.int32)
    program = jax.make_jaxpr(onnx.make_function(system))(*inputs)
    assert "platform_index" not in str(program)


@pytest.mark.slow
@pytest.mark.skipif("MGR_JAX_ONNX_ENV" not in os.environ, reason="MGR_JAX_ONNX_ENV is not set")
@pytest.mark.parametrize("name", ["bbnn", "cnn", "cnn_lstm", "rnn", "gru", "lstm", "logistic"])
def test_onnxruntime_gives_the_probabilities_of_the_system(tmp_path, name):
    fields = _PICTURE if name.startswith("cnn") else {}
    if name in ("gru", "lstm"):
        name, fields = "rnn", {"model_cell": name}
    system = trained.make_system(name, **fields)
    bundle.write(tmp_path / "m", system)
    python = pathlib.Path(os.environ["MGR_JAX_ONNX_ENV"], "bin", "python")
    done = subprocess.run(
        [str(python), "-m", "mgr_jax.export.onnx", str(tmp_path / "m"), str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr[-2000:]
    assert json.loads((tmp_path / "out/model.json").read_text())["largest_difference"] < 1e-4
