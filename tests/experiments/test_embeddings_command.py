"""Embeddings through the command line: train, evaluate, cross-validate, audit, compare, report."""

import json

import numpy as np
import pytest

from tests.experiments import commands

CONFIG = "--config=experiments/configs/embeddings.py"


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    """Sixty tracks of three classes and twenty artists, of three layers; the last one knows."""
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = random.normal(size=(60, 3, 8))
    x[:, 2] += 2 * random.normal(size=(3, 8))[y]
    path = tmp_path_factory.mktemp("embeddings") / "file.npz"
    names, artists = ([f"{name}{i}" for i in values] for name, values in
                      (("track ", range(60)), ("artist ", np.arange(60) // 3)))  # fmt: skip
    labels = np.array([*"abc"])[y]
    np.savez(path, embedding=x, track_id=names, label=labels, artist=artists)
    return path


@pytest.mark.e2e
def test_all_commands_take_embeddings_and_compare_takes_a_csv(cache, root, tmp_path):
    data = f"--config.data.root={root}"
    for name in ("logistic", "svm", "lda"):
        workdir = f"--workdir={tmp_path / name}"
        out, _ = commands.run(cache, "train", f"{CONFIG}:{name}", data, workdir)
        assert "layer     2 of 0 to 2: " in out
        out, _ = commands.run(cache, "evaluate", workdir)
        assert "(n = 12, 4 artists, artist_kfold; Wilson by track [" in out
    out, _ = commands.run(cache, "train", f"{CONFIG}:lda", data, workdir)
    assert "fitted already" in out
    out, _ = commands.run(cache, "audit", CONFIG, data)
    assert "nothing leaks" in out
    theirs = tmp_path / "theirs.csv"
    theirs.write_bytes((tmp_path / "svm" / "eval" / "test" / "predictions.csv").read_bytes())
    sides = f"--workdirs={theirs},{tmp_path / 'lda'},{tmp_path / 'svm'}"
    out, _ = commands.run(cache, "compare", sides, f"--json={tmp_path / 'out.json'}")
    pairs = json.loads((tmp_path / "out.json").read_text())["pairs"]
    assert [pair["second"] for pair in pairs] == ["lda", "svm", "svm"]
    assert pairs[1]["only_first"] == pairs[1]["only_second"] == 0
    assert "what theirs.csv learned from is unknown" in out
    commands.run(cache, "report", tmp_path / "lda", tmp_path / "svm", f"--output={tmp_path}")
    out, _ = commands.run(
        cache, "cross_validate", f"{CONFIG}:lda", data, f"--workdir={tmp_path / 'folds'}",
        "--seeds=1", "--config.data.num_folds=2",
    )  # fmt: skip
    assert "n = 60" in out
    line = commands.fails(cache, "predict", f"--workdir={tmp_path / 'lda'}", root)
    assert "takes vectors of a file, not audio" in line
