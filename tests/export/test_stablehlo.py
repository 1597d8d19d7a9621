"""StableHLO: the exported function equals the system, and runs without its code."""

import dataclasses
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
from mgr_jax.data import audio
from mgr_jax.errors import UserError
from mgr_jax.evaluation import conformal
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


def _run_script(folder, *songs):
    """Run `run.py` on each song in a process without this package; return what it printed."""
    script = (
        "import runpy, sys; sys.modules['mgr_jax'] = None; path, *songs = sys.argv[1:]\n"
        "sys.path.insert(0, path.rpartition('/')[0])\n"
        "for song in songs:\n"
        "    sys.argv = [path, song]\n"
        "    try:\n        runpy.run_path(path, run_name='__main__')\n"
        "    except SystemExit as end:\n        print('status', end.code)\n"
        "    sys.stderr.flush()\n"
    )
    done = subprocess.run(
        [sys.executable, "-u", "-c", script, folder / "run.py", *songs],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder.parent,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PATH": ""},
    )
    assert not done.returncode, done.stdout
    return done.stdout.splitlines()


@pytest.mark.e2e
def test_run_script_does_as_predict_without_this_package(tmp_path, monkeypatch):
    tracks = conformal.Calibration(np.full(9, -1.2), np.zeros(9, int), np.arange(9), "train")
    system = dataclasses.replace(trained.make_system("logistic"), calibration=tracks)
    stablehlo.write(tmp_path / "out", system)
    noise = trained.noise(30_000)
    files = {
        "song.wav": (noise, {"subtype": "FLOAT"}),
        "song.mp3": (noise, {}),
        "tiny.wav": (noise[:1], {"subtype": "FLOAT"}),
        "silent.wav": (np.zeros(9000), {}),
        "empty.wav": (np.zeros(0), {}),
        "nan.wav": (np.full(9000, np.nan), {"subtype": "FLOAT"}),
    }
    for name, (samples, settings) in files.items():
        soundfile.write(tmp_path / name, samples, 16_000, **settings)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(99))
    names = [*files, "text.wav", "song.m4a", "none.wav"]
    lines = _run_script(tmp_path / "out", *names)
    predictor = make_predictor(system)
    monkeypatch.setenv("PATH", "")  # No ffmpeg here, either.
    files = [str(tmp_path / name) for name in names]
    results = dict(predictor.predict_files(files, coverage=0.9))
    for name, result in zip(names, results.values(), strict=True):
        end = next(i for i, line in enumerate(lines) if line.startswith("status"))
        own, lines = lines[: end + 1], lines[end + 1 :]
        if isinstance(result, audio.AudioError):
            assert own == [f"{name}: {result}", "status 1"]
            continue
        rows = [line.split() for line in own if line[0].isdigit()]
        assert [label for _, label in rows] == list(result.probabilities)
        actual = [float(value) for value, _ in rows]
        assert f"set of 90 %: {', '.join(result.label_set)}" in own
        assert not any(line.startswith("set of 95 %") for line in own)  # Takes 19 artists.
        assert actual == pytest.approx(list(result.probabilities.values()), abs=1e-4)
        assert any("uncertain, shorter than a frame: 1 of" in line for line in own) == (
            name == "tiny.wav"
        )
        assert own[-1] == "status 0"


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
