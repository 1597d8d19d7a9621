"""StableHLO: the exported function equals the system, and runs without its code."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors
import soundfile
from jax import export

from mgr_jax import pretrained
from mgr_jax.errors import UserError
from mgr_jax.export import bundle, contract, run_exported, stablehlo
from mgr_jax.predictor import make_predictor
from tests.export import trained

# The five poolings of the CNN need an input of some size.
_LARGE = {"features_n_mels": 128, "features_n_fft": 2048, "features_hop_length": 32}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("bbnn", {"features_normalize": "bin"}),
        ("rnn", {"model_cell": "gru"}),
        ("logistic", {}),
        pytest.param("cnn", _LARGE, marks=pytest.mark.slow),
        pytest.param("cnn_lstm", _LARGE, marks=pytest.mark.slow),
    ],
)
def test_export_gives_the_probabilities_of_the_system(tmp_path, name, fields):
    system = trained.make_system(name, **fields)
    stablehlo.write(tmp_path, system)
    exported = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["labels"] == list(trained.LABELS)
    waveforms = np.stack([trained.noise(4000, seed=seed) for seed in range(3)])
    lengths = np.array([4000, 2000, 900], np.int32)
    filled = [run_exported.fill(x[:n], 4000) for x, n in zip(waveforms, lengths, strict=True)]
    given = {"waveform": np.stack(filled), "num_samples": lengths}
    # The function of one device, as a user of the file would have.
    actual = exported.call(
        *(jax.device_put(given[key], jax.devices()[0]) for key in facts["inputs"])
    )
    predictor = make_predictor(system)
    songs = [waveform[:length] for waveform, length in zip(waveforms, lengths, strict=True)]
    expected = np.concatenate([predictor.predict(song, 8000).windows for song in songs])
    np.testing.assert_allclose(np.asarray(actual), expected, atol=1e-5)


@pytest.mark.e2e
def test_run_script_works_without_this_package(tmp_path):
    system = trained.make_system("logistic")
    stablehlo.write(tmp_path / "out", system)
    soundfile.write(tmp_path / "song.wav", trained.noise(30_000), 16_000, subtype="FLOAT")
    script = (
        "import runpy, sys; sys.modules['mgr_jax'] = None; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "out" / "run.py", tmp_path / "song.wav"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert not done.returncode, done.stderr
    actual = {line.split()[1]: float(line.split()[0]) for line in done.stdout.splitlines()}
    expected = make_predictor(system).predict(tmp_path / "song.wav").probabilities
    assert list(actual) == list(expected)
    assert actual == pytest.approx(expected, abs=1e-4)


def test_export_refuses_what_is_not_computed_in_jax(tmp_path):
    system = trained.make_system("logistic")
    system.config.model.name = "svm"
    with pytest.raises(UserError, match="export a bundle"):
        stablehlo.write(tmp_path, system)


def test_exports_carry_the_licence_of_the_front_end(tmp_path):
    system = trained.make_system("logistic", features_kind="musicnn")
    expected = (pretrained.FOLDER / "musicnn" / "LICENSE").read_text()
    contract.write(tmp_path / "folder", system, "stablehlo", b"model", {})
    assert (tmp_path / "folder" / "LICENSE.musicnn").read_text() == expected
    facts = json.loads((tmp_path / "folder" / "model.json").read_text())
    assert facts["licenses"] == ["LICENSE.musicnn"]
    bundle.write(tmp_path / "bundle", system)
    with safetensors.safe_open(tmp_path / "bundle", framework="numpy") as file:
        assert file.metadata()["LICENSE.musicnn"] == expected
    contract.write(tmp_path / "other", trained.make_system("logistic"), "stablehlo", b"model", {})
    assert not (tmp_path / "other" / "LICENSE.musicnn").exists()
