"""Keras weights into a workdir through the command line, and out of it as probabilities."""

import json

import h5py
import numpy as np
import pytest
import soundfile

from tests.experiments import commands

WIDTH = 2


@pytest.fixture(name="weights")
def _weights(tmp_path):
    """A BBNN of one module in the authors' layout."""
    random = np.random.default_rng(0)
    count = {"conv2d": 0, "batch_normalization": 0}
    with h5py.File(tmp_path / "model.hdf5", "w") as file:
        root = file.create_group("model_weights")

        def layer(name, **values):
            for key, value in values.items():
                root.create_dataset(f"{name}/{name}/{key}:0", data=np.float32(value))

        def conv(size, inputs):
            count["conv2d"] += 1
            kernel = random.normal(size=(size, size, inputs, WIDTH))
            layer(f"conv2d_{count['conv2d']}", kernel=kernel, bias=np.zeros(WIDTH))

        def norm(inputs):
            count["batch_normalization"] += 1
            layer(
                f"batch_normalization_{count['batch_normalization']}",
                gamma=np.ones(inputs),
                beta=np.zeros(inputs),
                moving_mean=random.normal(size=inputs),
                moving_variance=np.ones(inputs),
            )

        conv(3, 1)
        norm(WIDTH)
        for size, inputs in ((1, 2), (1, 2), (3, 2), (1, 2), (5, 2), (1, 2), (1, 10)):
            norm(inputs)
            conv(size, inputs)
        norm(WIDTH)
        layer("dense_1", kernel=random.normal(size=(WIDTH, 10)), bias=np.zeros(10))
    return tmp_path / "model.hdf5"


@pytest.mark.e2e
def test_import_keras_gives_a_workdir_that_predicts_and_evaluates(cache, weights, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    commands.run(cache, "import_keras", str(weights), workdir)
    random = np.random.default_rng(1)
    root = tmp_path / "root"
    for genre in ("blues", "rock"):
        (root / genre).mkdir(parents=True)
        soundfile.write(root / genre / "song.wav", random.normal(size=30_000) * 0.1, 22_050)
    out, _ = commands.run(
        cache, "predict", workdir, "--format=json", str(root / "blues" / "song.wav")
    )
    assert sum(json.loads(out)["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    out, _ = commands.run(
        cache, "evaluate", workdir, "--config.data.name=folder", f"--config.data.root={root}"
    )
    assert "(n = 2, imported)" in out
    assert "no accuracy on unseen music" in out


def test_import_keras_names_what_is_wrong_in_one_line(cache, weights, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    line = commands.fails(cache, "import_keras", str(weights), workdir, "--labels=a,b")
    assert "2 labels for a model of 10 classes" in line
    (tmp_path / "text.hdf5").write_text("no weights")
    line = commands.fails(cache, "import_keras", str(tmp_path / "text.hdf5"), workdir)
    assert "text.hdf5 cannot be read as an HDF5 file" in line
    with h5py.File(weights, "a") as file:
        del file["model_weights/conv2d_4/conv2d_4/kernel:0"]
        file["model_weights/conv2d_4/conv2d_4/kernel:0"] = np.zeros((7, 7, WIDTH, WIDTH))
    line = commands.fails(cache, "import_keras", str(weights), workdir)
    assert "layer conv2d_4 does not fit" in line
    assert not (tmp_path / "run").exists()
