"""Embeddings of several layers, held to scikit-learn: which layer, and the scores of tracks."""

import json

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mgr_jax import predictor as predictor_lib
from mgr_jax import workdir
from mgr_jax.classical import fitting, held_out, layers
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration, metrics
from tests.data import test_embeddings

L2 = 0.03
NUM_TRACKS, NUM_CLASSES = 90, 3
Y = np.arange(NUM_TRACKS) % NUM_CLASSES
PART = np.array(["train", "train", "valid", "test", "train", "train"])[np.arange(90) // 15]
# Tracks have one to three windows.
TRACK = np.repeat(np.arange(NUM_TRACKS), 1 + np.arange(NUM_TRACKS) % 3)


@pytest.fixture(scope="module", name="x")
def _x():
    """Windows of three layers, the second of which knows most of the class."""
    random = np.random.default_rng(1)
    x = random.normal(size=(len(TRACK), 3, 6)).astype(np.float32)
    centers = random.normal(size=(NUM_CLASSES, 6)) * np.array([0.1, 1.5, 0.4])[:, None, None]
    return x + centers.transpose(1, 0, 2)[Y[TRACK]].astype(np.float32)


@pytest.fixture(scope="module", name="root")
def _root(x, tmp_path_factory):
    path = tmp_path_factory.mktemp("layers") / "file.npz"
    names = np.array([f"t{i:02}" for i in range(NUM_TRACKS)])[TRACK]
    labels = np.array([*"abc"])[Y[TRACK]]
    np.savez(path, embedding=x, track_id=names, label=labels, split=PART[TRACK])
    return str(path)


def _reference(name, num_rows):
    if name == "lda":
        return make_pipeline(
            StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        )
    return make_pipeline(StandardScaler(), LogisticRegression(C=1 / (L2 * num_rows), tol=1e-8))


def _scores(model, x, rows):
    """Mean log-probabilities over the windows `rows` of each track, normalised."""
    log_p = model.predict_log_proba(x[rows])
    tracks = TRACK[rows]
    means = [log_p[tracks == track].mean(axis=0) for track in np.unique(tracks)]
    return log_softmax(means, axis=1)


def _train(root, folder, name, **fields):
    config = test_embeddings.config(root, model__name=name, model__l2=(L2,), **fields)
    dataset = dataset_lib.open_dataset(config)
    run = workdir.create(str(folder), config, dataset.catalog, dataset.split)
    fitting.train(config, dataset, run)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return dataset, [record for record in records if "layer" in record]


@pytest.mark.parametrize("name", [pytest.param("logistic", marks=pytest.mark.e2e), "lda"])
def test_layer_and_scores_are_those_of_scikit_learn(x, root, tmp_path, capsys, name):
    dataset, records = _train(root, tmp_path, name)
    rows = {part: np.flatnonzero(PART[TRACK] == part) for part in ("train", "valid", "test")}
    train = rows["train"]
    models = [_reference(name, len(train)).fit(x[train, k], Y[TRACK[train]]) for k in range(3)]
    truth = Y[PART == "valid"]
    for layer, (model, record) in enumerate(zip(models, records, strict=True)):
        scores = _scores(model, x[:, layer], rows["valid"])
        assert record["held_out_accuracy"] == pytest.approx(np.mean(scores.argmax(1) == truth))
        loss = -scores[np.arange(len(truth)), truth].mean()
        assert record["held_out_loss"] == pytest.approx(loss, abs=2e-4)
    assert [record["chosen"] for record in records] == [False, True, False]
    loaded = predictor_lib.load(tmp_path)
    assert int(loaded.system.variables["layer"]) == 1
    ours = loaded.score_tracks(dataset.parts["test"])
    np.testing.assert_allclose(ours, _scores(models[1], x[:, 1], rows["test"]), atol=2e-3)
    assert "layer     1 of 0 to 2: " in capsys.readouterr().out
    # The temperature is that of the chosen layer, on the tracks of each inner fold.
    fold_of = held_out.inner_folds(dataset.catalog, dataset.parts["train"].ids, seed=0)
    own, scores = np.repeat(fold_of, 1 + np.flatnonzero(PART == "train") % 3), np.empty((60, 3))
    for fold in range(5):
        rest = train[own != fold]
        model = _reference(name, len(rest)).fit(x[rest, 1], Y[TRACK[rest]])
        scores[fold_of == fold] = _scores(model, x[:, 1], train[own == fold])
    (record,) = json.loads((tmp_path / "eval/temperature.json").read_text())
    assert (record["part"], record["n"]) == ("train", 60)
    truth = Y[PART == "train"]
    assert record["log_loss_before"] == pytest.approx(metrics.log_loss(scores, truth), abs=2e-4)
    temperature = calibration.choose_temperature(scores, truth).temperature
    assert loaded.system.temperature == pytest.approx(temperature, abs=2e-3)


def test_refit_of_lda_chooses_the_layer_in_inner_folds(root, tmp_path, capsys):
    _, records = _train(root, tmp_path, "lda", train__refit=True)
    assert [record["chosen"] for record in records] == [False, True, False]
    assert "75 training tracks in inner folds" in capsys.readouterr().out
    (record,) = json.loads((tmp_path / "eval/temperature.json").read_text())
    assert record["n"] == 75 and record["temperature"] >= 1  # These tracks chose the layer.


def test_the_test_part_does_not_choose_the_layer(x, root, tmp_path):
    other = np.where((PART[TRACK] == "test")[:, None, None], 5 * x[:, ::-1], x)
    with np.load(root) as file:
        np.savez(tmp_path / "other.npz", **({**file} | {"embedding": other}))
    for name in ("svm", "logistic"):
        before = _train(root, tmp_path / name, name)[1]
        assert _train(str(tmp_path / "other.npz"), tmp_path / f"{name}2", name)[1] == before


def test_other_embeddings_are_refused_in_one_line(x, root, tmp_path):
    _train(root, tmp_path / "run", "lda")
    loaded = predictor_lib.load(tmp_path / "run")
    for vectors in (x[:, :, :5], x[:, 1], x[:, :1]):
        with np.load(root) as file:
            np.savez(tmp_path / "other.npz", **({**file} | {"embedding": vectors}))
        config = test_embeddings.config(str(tmp_path / "other.npz"))
        part = dataset_lib.open_part(config, loaded.run.split, "test").parts["test"]
        with pytest.raises(UserError, match=r"but the model reads layer 1 of 6 values"):
            loaded.score_tracks(part)
    with pytest.raises(UserError, match="takes vectors of a file, not audio"):
        loaded.predict(np.zeros(100), 22050)


def test_choose_takes_accuracy_then_loss_then_the_lower_layer():
    sure = np.log([[0.9, 0.1], [0.1, 0.9]])
    unsure = np.log([[0.6, 0.4], [0.4, 0.6]])
    fits = [({}, [], log_p) for log_p in (-sure, unsure, sure, sure)]
    y, tracks = np.array([0, 1]), np.array([3, 5])
    params, records = layers.choose(fits.__getitem__, 4, y, tracks, what="tracks")
    assert params == {"layer": 2} and [r["held_out_accuracy"] for r in records] == [0, 1, 1, 1]
