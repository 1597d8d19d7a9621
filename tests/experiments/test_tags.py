"""`predict --model=musicnn`: tags over time in three formats, and the file of embeddings."""

import csv
import json
import sys

import numpy as np
import pytest
import soundfile

from mgr_jax import tagger
from tests.experiments import commands


@pytest.fixture(name="songs", scope="module")
def _songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, 5 * 16000))
    soundfile.write(folder / "a.wav", noise[0], 16000)
    soundfile.write(folder / "b.wav", noise[1, :16000], 16000)
    (folder / "c.wav").write_text("no audio")
    return folder


def test_predict_shows_tags_over_time_in_three_formats(cache, songs, tmp_path):
    kept = tmp_path / "embeddings.npz"
    table, errors = commands.run(
        cache, "predict", "--model=musicnn", "--top_k=3", f"--embeddings={kept}", songs, code=1
    )
    assert "c.wav" in errors
    expected = tagger.load().tag(songs / "a.wav")
    name, value = next(iter(expected.mean.items()))
    lines = table.splitlines()
    assert lines[0] == str(songs / "a.wav")
    assert lines[1].split("song")[1].strip().startswith(f"{name} {value:.2f}, ")
    assert len(lines) == 2 + 3 + 1 + 2 and lines[2].startswith("    0.0 -   3.0 s  ")
    assert all(line.count(",") == 2 for line in lines[1:5])
    with np.load(kept) as arrays:
        assert arrays["embedding"].shape == (4, 200)
        np.testing.assert_allclose(arrays["embedding"][:3], expected.embeddings, atol=1e-6)
        assert arrays["track_id"].tolist() == [str(songs / "a.wav")] * 3 + [str(songs / "b.wav")]
        np.testing.assert_allclose(arrays["start_seconds"][:3], expected.window_starts_seconds)

    out, _ = commands.run(cache, "predict", "--model=musicnn", "--format=json", songs, code=1)
    first, second, third = map(json.loads, out.splitlines())
    assert first["tags"] == pytest.approx(expected.mean, abs=1e-6) and "note" not in first
    timeline = first["timeline"]["probabilities"]
    np.testing.assert_allclose(
        np.transpose([timeline[label] for label in expected.labels]),
        expected.probabilities,
        atol=1e-6,
    )
    assert "repeated" in second["note"] and third["error"]

    sys.modules.pop("experiments.predict", None)  # Its module runs as the program.
    out, errors = commands.run(cache, "tags", "--format=csv", songs, code=1)
    assert errors.splitlines()[-1] == f"next      python -m experiments.predict {songs}"
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["start_seconds"] for row in rows] == ["0.000", "0.976", "1.952", "0.000", ""]
    for row, values in zip(rows, expected.probabilities, strict=False):
        got = [float(row[label]) for label in expected.labels]
        np.testing.assert_allclose(got, values, atol=2e-6)
    assert "repeated" in rows[3]["note"] and rows[4]["error"]


def test_embeddings_are_refused_without_musicnn(cache, songs):
    line = commands.fails(cache, "predict", "--workdir=none", "--embeddings=e.npz", songs / "a.wav")
    assert "--embeddings: only MusiCNN has them; add --model=musicnn" in line
    line = commands.fails(
        cache, "predict", "--model=musicnn", "--embeddings=/proc/none/e.npz", songs / "a.wav"
    )
    assert "--embeddings /proc/none/e.npz: cannot be written" in line
    line = commands.fails(cache, "predict", "--model=musicnn", "--embeddings=", songs / "a.wav")
    assert "--embeddings (empty): give a file that ends in .npz" in line
    line = commands.fails(cache, "predict", "--model=musicnn", "--workdir=w", songs / "a.wav")
    assert "--model and --workdir: give one of them" in line
    line = commands.fails(cache, "predict", "--model=musicnn", "--timeline", songs / "a.wav")
    assert "--timeline: is for genres; --model=musicnn always shows its tags over time" in line
    line = commands.fails(cache, "predict", "--model=MERT", songs / "a.wav")
    assert "--model MERT: no such folder or file; give gtzan, musicnn," in line
