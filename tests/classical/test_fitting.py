"""Classical systems in a workdir: fitting, writing, reading and damaged files."""

import dataclasses
import functools
import json
import os
import shutil
import time

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import parallel, system, workdir
from mgr_jax import predictor as predictor_lib
from mgr_jax.classical import ensemble, fitting, scoring
from mgr_jax.data import batches
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.features.frontend import make_frontend
from mgr_jax.workdir import read_metrics


def _config(name="logistic"):
    config = config_lib.Config()
    config.data.clip_seconds = 1.0
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    config.data.num_workers = 1
    config.features.kind = "mfcc_stats"
    config.model.name = name
    return config_lib.validate(config)


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    config = _config()
    config.data.cache = str(tmp_path_factory.mktemp("cache"))
    return dataset_lib.open_dataset(config)


@pytest.fixture(name="trained", scope="module", params=["logistic", "svm"])
def _trained(request, data, tmp_path_factory):
    """A workdir with a fitted model, which tests must not change."""
    config = _config(request.param)
    path = str(tmp_path_factory.mktemp("trained") / "run")
    run = workdir.create(path, config, data.catalog, data.split)
    fitting.train(config, data, run)
    return run


@pytest.fixture(name="run")
def _run(trained, tmp_path):
    """A copy of the workdir."""
    shutil.copytree(trained.path, tmp_path / "run")
    return dataclasses.replace(trained, path=tmp_path / "run")


def _forget_features(data):
    for folder in data.clips.folder.glob("features-*"):
        shutil.rmtree(folder)


def test_extract_gives_the_front_end_of_every_window(data):
    config = _config()
    config.data.window_seconds = 0.4
    part = data.parts["valid"]
    x, y = fitting.extract(config, part)
    windows = batches.windows_of(part, 8820)
    assert len(x) == len(y) == len(windows) == 30
    frontend = make_frontend(config.features)
    for row in (0, 13, 29):
        index, start = windows[row]
        waveform = part.clips.waveform(part.rows[index], start, 8820)
        expected = np.asarray(frontend(waveform[None]))[0]
        assert np.abs(x[row] - expected).max() <= 1e-5 * np.abs(expected).max()
        assert y[row] == part.labels[index]


def test_map_in_threads_keeps_the_order_and_few_items_pending():
    started, finished = [], []

    def items():
        for i in range(20):
            started.append(i)
            assert len(started) - len(finished) <= 4
            yield i

    def slow_at_first(i):
        time.sleep(0.002 * (20 - i))
        return i**2

    for item, result in fitting._map_in_threads(slow_at_first, items(), 3):
        finished.append((item, result))
    assert finished == [(i, i**2) for i in range(20)]
    assert list(fitting._map_in_threads(abs, [], 2)) == []


def test_map_in_threads_raises_the_error_of_an_item():
    with pytest.raises(ZeroDivisionError):
        list(fitting._map_in_threads(lambda i: 1 / (5 - i), range(10), 2))


def test_extract_in_threads_equals_extract_in_one(data, monkeypatch):
    config = _config()
    config.train.batch_size = 4
    part, device = data.parts["train"], jax.devices()[:1]
    monkeypatch.setattr(parallel, "make_mesh", functools.partial(parallel.make_mesh, device))
    results = []
    for cores in ({0}, {0, 1, 2}):
        _forget_features(data)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        results.append(fitting.extract(config, part))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_extract_gives_the_same_bits_in_any_part_and_with_or_without_the_cache(data):
    """Some tracks are shorter than a window, which changes the formula of their batch."""
    config, store = _config(), data.clips
    records = list(store.records)
    for row in data.parts["train"].rows[[2, 3, 7]].tolist():
        records[row] = dataclasses.replace(records[row], length=15_000 + row, digest=f"short {row}")
    short = dataclasses.replace(store, records=tuple(records))
    object.__setattr__(short, "_intact", set(range(len(records))))  # The digests are made up.
    part = dataclasses.replace(data.parts["train"], clips=short)
    in_memory = dataclasses.replace(short, samples=np.array(store.samples))

    def extract(chosen, clips):
        ids = tuple(part.ids[i] for i in chosen)
        rows, labels = part.rows[chosen], part.labels[chosen]
        return fitting.extract(config, batches.Part(clips, ids, rows, labels))[0]

    _forget_features(data)
    order = np.random.default_rng(0).permutation(len(part.ids))
    x = np.concatenate([extract(order[i : i + 3], short) for i in range(0, len(order), 3)])
    assert np.array_equal(extract(order, short), x)
    assert np.array_equal(extract(order[::-1], in_memory)[::-1], x)


def test_train_writes_a_model_that_load_reads(data, trained):
    run, part = trained, data.parts["train"]
    predict = scoring.make_predict(run.config, fitting.load_params(run))
    scores = tracks_lib.score_tracks(predict, part, batch_size=8, window=22_050)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-6)
    assert (scores.argmax(axis=1) == part.labels).mean() == 1
    assert (run.path / "STATUS").read_text() == "done\n"
    records = read_metrics(run.path)
    if run.config.model.name == "logistic":
        assert [record["l2"] for record in records] == list(run.config.model.l2)
        assert sum(record["chosen"] for record in records) == 1
    assert fitting.count_parameters(run) > 10 * 10


def test_train_without_a_track_to_hold_out_leaves_the_temperature_to_evaluate(trained):
    """Of each class there is one training track."""
    assert not (trained.path / "eval").exists()


def test_train_again_keeps_the_model(data, run, capsys):
    before = (run.path / "model" / "params.npz").stat().st_mtime_ns
    fitting.train(run.config, data, run)
    assert (run.path / "model" / "params.npz").stat().st_mtime_ns == before
    assert "fitted already" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"", b"text", None])
def test_load_names_a_damaged_model(run, damage):
    path = run.path / "model" / "params.npz"
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    with pytest.raises(UserError, match="is damaged; train again") as error:
        fitting.load_params(run)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arrays",
    [
        {"mean": np.array([{}], object)},
        {"a": np.zeros(2)},
        {"mean": np.zeros(119), "num_classes": np.zeros(3)},
        {"mean": np.array("text"), "scale": np.zeros(119)},
        dict.fromkeys(("mean", "scale", "kernel", "bias", "components", "dual"), np.zeros(())),
        dict.fromkeys(("mean", "scale", "kernel", "bias", "components", "dual"), np.zeros((0, 0))),
    ],
)
def test_load_refuses_objects_and_other_files(run, arrays):
    np.savez(run.path / "model" / "params.npz", **arrays)
    with pytest.raises(UserError, match="is damaged; train again"):
        fitting.load_params(run)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, 1j, np.void(b"abcd")])
def test_load_refuses_parameters_that_are_not_finite(run, value):
    path = run.path / "model" / "params.npz"
    params = fitting.load_params(run)
    params["mean"] = np.full(params["mean"].shape, value)
    np.savez(path, **params)
    with pytest.raises(UserError, match="is damaged; train again"):
        fitting.load_params(run)


def test_parameters_of_other_features_are_refused():
    config = _config()
    params = {"mean": np.zeros(5), "scale": np.ones(5), "kernel": np.zeros((5, 10))}
    params["bias"] = np.zeros(10)
    scoring.check_params(config, params, num_classes=10)
    with pytest.raises(UserError, match=r"fitted to features \[5\], and its config gives \[119\]"):
        scoring._check_size(params, np.zeros((4, 119)))
    scoring._check_size(params, np.zeros((4, 5)))


def test_extract_makes_no_batch_larger_than_the_part(data, monkeypatch):
    config, sizes = _config(), []
    config.train.batch_size = 10**9
    eval_batches = batches.eval_batches

    def record(part, *, batch_size, window):
        sizes.append(batch_size)
        return eval_batches(part, batch_size=batch_size, window=window)

    monkeypatch.setattr(batches, "eval_batches", record)
    _forget_features(data)
    x, _ = fitting.extract(config, data.parts["valid"])
    assert 8 <= sizes[0] <= len(x) + 3  # A multiple of the number of devices.


def test_evaluation_makes_no_batch_larger_than_the_part(data, run, monkeypatch):
    predictor, sizes = predictor_lib.make_predictor(system.load(run.path)), []
    predictor.config.train.batch_size = 10**9
    predictor.config.model.name = "bbnn"  # Features of the others have batches of their own.

    def score_tracks(predict, part, *, batch_size, **settings):
        sizes.append(batch_size)

    monkeypatch.setattr(tracks_lib, "score_tracks", score_tracks)
    predictor.score_tracks(data.parts["test"])
    assert len(data.parts["test"].ids) <= sizes[0] <= len(data.parts["test"].ids) + 3


def test_train_fits_a_damaged_model_again(data, run, capsys):
    path = run.path / "model" / "params.npz"
    with np.load(path) as arrays:
        params = {name: arrays[name] for name in arrays.files}
    np.savez(path, **(params | {"mean": params["mean"][:3]}))
    fitting.train(run.config, data, run)
    assert "is damaged" in capsys.readouterr().out
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["mean"], params["mean"])


def test_load_without_a_model_says_to_train(run):
    (run.path / "model" / "params.npz").unlink()
    with pytest.raises(UserError, match="no model in it yet; train first"):
        fitting.load_params(run)


def test_ensemble_has_records_of_json_and_scores_of_held_out_tracks(data, monkeypatch):
    part = data.parts["train"]
    held_out = np.zeros((len(part.ids), 10))
    choice = ensemble.Choice({"a_lda": 0.5}, {"a_lda": 1.0}, 0.5, held_out)
    monkeypatch.setattr(ensemble, "fit", lambda *_, **__: ({"weights": np.ones(1)}, choice))
    monkeypatch.setattr(ensemble, "check_shapes", lambda _: None)
    folds = np.zeros(len(part.ids), int)
    monkeypatch.setattr(fitting.held_out, "inner_folds", lambda *_, **__: folds)
    x = np.zeros((len(part.ids), 4, 4))
    _, records, scores = fitting._fit_ensemble(_config(), data, x, np.asarray(part.labels))
    assert json.loads(json.dumps(records)) == [
        {"step": 0, "accuracy": {"a_lda": 0.5}, "weights": {"a_lda": 1.0}, "ensemble_accuracy": 0.5}
    ]
    np.testing.assert_array_equal(scores, held_out)
