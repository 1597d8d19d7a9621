"""The MusiCNN that comes with the package: loading, TensorFlow, and published outputs."""

import os
import pathlib
import subprocess
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy

from mgr_jax import pretrained
from mgr_jax.data import audio
from mgr_jax.errors import UserError
from mgr_jax.features import musicnn as frontend
from mgr_jax.models import musicnn_pruned, musicnn_weights, tf_checkpoint

SHARED = os.environ.get("MGR_JAX_SHARED", "")
WHEEL = os.environ.get("MGR_JAX_MUSICNN_WHEEL", "")
TENSORFLOW = os.environ.get("MGR_JAX_TF_ENV", "")

# The authors' own network with their checkpoint. Its layers are those of Keras 2.
_TENSORFLOW = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow as tf
folder, model, source, target = sys.argv[1:]
sys.path.insert(0, folder)
tf.compat.v1.disable_eager_execution()
from musicnn import models
x = np.load(source)
inputs = tf.compat.v1.placeholder(tf.float32, [None, *x.shape[1:]])
training = tf.compat.v1.placeholder(tf.bool)
outputs = models.define_model(inputs, training, model, 50)
logits, mean, maximum, embedding = outputs[0], *outputs[-3:]
with tf.compat.v1.Session() as session:
    tf.compat.v1.train.Saver().restore(session, f"{folder}/musicnn/{model}/")
    feed = {inputs: x, training: False}
    values = session.run([tf.nn.sigmoid(logits), logits, embedding, maximum, mean], feed)
np.savez(target, *values)
"""


def _copy(folder):
    """The weights of the package as tensors, with labels, in a folder of their own."""
    folder.mkdir()
    tensors = safetensors.numpy.load_file(pretrained.FOLDER / "musicnn" / pretrained.WEIGHTS)
    (folder / pretrained.LABELS).write_text("\n".join(f"tag {i}" for i in range(50)))
    return tensors


def test_load_musicnn_knows_its_tags():
    labels = pretrained.load_musicnn().labels
    assert labels[:3] == ("rock", "pop", "alternative") and labels[-1] == "happy"
    assert {"jazz", "blues", "metal", "country", "Hip-Hop"} < set(labels)


def test_the_folder_has_licence_and_card():
    folder = pretrained.FOLDER / "musicnn"
    assert "Permission to use, copy, modify" in (folder / "LICENSE").read_text()
    card = (folder / "README.md").read_text()
    assert "1909.06654" in card and "787159 parameters" in card
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3.3e6


def test_load_musicnn_names_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match="absent: is not a folder of"):
        pretrained.load_musicnn(tmp_path / "absent")
    tensors = _copy(tmp_path / "copy")
    path = tmp_path / "copy" / pretrained.WEIGHTS
    safetensors.numpy.save_file(tensors, path)
    assert pretrained.load_musicnn(tmp_path / "copy").labels[49] == "tag 49"
    (tmp_path / "copy" / pretrained.LABELS).write_text("one\n")
    with pytest.raises(UserError, match="1 names for 50 outputs"):
        pretrained.load_musicnn(tmp_path / "copy")
    safetensors.numpy.save_file({**tensors, "params/tags/bias": np.zeros(49)}, path)
    with pytest.raises(UserError, match="params/tags/kernel is"):
        pretrained.load_musicnn(tmp_path / "copy")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged"):
        pretrained.load_musicnn(tmp_path / "copy")


@pytest.mark.skipif(not SHARED, reason="MGR_JAX_SHARED is unset")
def test_tags_over_time_are_the_published_ones():
    module, variables, _ = pretrained.load_musicnn()
    predict = jax.jit(lambda x: jax.nn.sigmoid(module.apply(variables, x).logits))
    published = np.load(pathlib.Path(SHARED, "data/gtzan_musicnn_taggram_train.npz"))
    differences = {}
    for path in sorted(pathlib.Path(SHARED, "data/gtzan_mini").glob("*/*.wav")):
        expected = published["taggram"][published["track_id"] == path.stem]
        if len(expected):
            waveform, _ = audio.decode(str(path), sample_rate=frontend.SAMPLE_RATE)
            tags = predict(frontend.windows(waveform))
            assert tags.shape == expected.shape
            differences[path.stem] = np.abs(tags - expected)
    assert len(differences) == 11
    # The rest is the resampler: theirs is not known.
    assert max(difference.mean() for difference in differences.values()) <= 0.0035
    assert np.mean([difference.mean() for difference in differences.values()]) <= 0.002


@pytest.mark.slow
@pytest.mark.skipif(
    not (TENSORFLOW and WHEEL), reason="MGR_JAX_TF_ENV or MGR_JAX_MUSICNN_WHEEL is not set"
)
@pytest.mark.parametrize("model", ["MSD_musicnn", "MTT_musicnn"])
def test_musicnn_equals_the_authors_network_in_tensorflow(tmp_path, model):
    zipfile.ZipFile(WHEEL).extractall(tmp_path)
    folder = tmp_path / "musicnn" / model
    files = (folder / name for name in (".index", ".data-00000-of-00001"))
    variables = musicnn_weights.from_tensorflow(
        tf_checkpoint.read(*(path.read_bytes() for path in files))
    )
    windows = np.asarray(frontend.windows(_music()))
    np.save(tmp_path / "windows.npy", windows)
    python = pathlib.Path(TENSORFLOW, "bin", "python")
    arguments = (tmp_path, model, tmp_path / "windows.npy", tmp_path / "outputs.npz")
    subprocess.run([python, "-c", _TENSORFLOW, *arguments], check=True)
    with np.load(tmp_path / "outputs.npz") as file:
        tags, logits, embedding, maximum, mean = (file[name] for name in file.files)
    pooled = np.stack([maximum, mean], axis=-1).reshape(len(windows), -1)
    pruned = musicnn_pruned.prune(variables)
    module = musicnn_weights.make_module(variables)
    for outputs in (
        jax.jit(module.apply)(variables, windows),
        jax.jit(pruned.module.apply)(pruned.variables, windows),
    ):
        np.testing.assert_allclose(jax.nn.sigmoid(outputs.logits), tags, atol=1e-5)
        for ours, theirs in zip(outputs, (logits, embedding, pooled), strict=True):
            assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def _music():
    """Eight seconds of a beating tone in noise."""
    time = np.arange(8 * frontend.SAMPLE_RATE) / frontend.SAMPLE_RATE
    noise = np.random.default_rng(0).normal(size=len(time))
    return np.float32(np.sin(2 * np.pi * 220 * time) * np.exp(-3 * (time % 0.5)) + 0.05 * noise)
