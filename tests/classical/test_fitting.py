"""The classical systems on a workdir: fitted, written, read back, damaged."""

import functools
import os
import time

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import parallel, workdir
from mgr_jax.classical import fitting
from mgr_jax.data import batches
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.features.frontend import make_frontend
from mgr_jax.workdir import read_metrics


@pytest.fixture(name="config", params=["logistic", "svm"])
def _config(request, tmp_path):
    config = config_lib.Config()
    config.data.clip_seconds = 1.0
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    config.data.cache, config.data.num_workers = str(tmp_path / "cache"), 1
    config.features.kind = "mfcc_stats"
    config.model.name = request.param
    return config_lib.validate(config)


@pytest.fixture(name="data")
def _data(config):
    return dataset_lib.open_dataset(config)


@pytest.fixture(name="run")
def _run(config, data, tmp_path):
    run = workdir.create(str(tmp_path / "run"), config, data.catalog, data.split)
    fitting.train(config, data, run)
    return run


def test_extract_gives_the_front_end_of_every_window(config, data):
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


def test_batches_abreast_come_in_order_and_few_are_held_at_a_time():
    taken, yielded = [], []

    def items():
        for i in range(20):
            taken.append(i)
            assert len(taken) - len(yielded) <= 4
            yield i

    def slow_at_first(i):
        time.sleep(0.002 * (20 - i))
        return i**2

    for item, result in fitting._map_in_threads(slow_at_first, items(), 3):
        yielded.append((item, result))
    assert yielded == [(i, i**2) for i in range(20)]
    assert list(fitting._map_in_threads(abs, [], 2)) == []


def test_an_error_in_one_of_the_batches_abreast_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(fitting._map_in_threads(lambda i: 1 / (5 - i), range(10), 2))


def test_extract_abreast_gives_what_one_after_another_gives(config, data, monkeypatch):
    config.train.batch_size = 4
    part, device = data.parts["train"], jax.devices()[:1]
    monkeypatch.setattr(parallel, "make_mesh", functools.partial(parallel.make_mesh, device))
    found = []
    for cores in ({0}, {0, 1, 2}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        found.append(fitting.extract(config, part))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_train_leaves_a_model_that_load_reads(config, data, run):
    part = data.parts["train"]
    scores = tracks_lib.score_tracks(fitting.load(run), part, batch_size=8, window=22_050)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-6)
    assert (scores.argmax(axis=1) == part.labels).mean() == 1
    assert (run.path / "STATUS").read_text() == "done\n"
    records = read_metrics(run.path)
    if config.model.name == "logistic":
        assert [record["l2"] for record in records] == list(config.model.l2)
        assert sum(record["chosen"] for record in records) == 1
    assert fitting.count_parameters(run) > 10 * 10


def test_train_again_keeps_the_model(config, data, run, capsys):
    before = (run.path / "model" / "params.npz").stat().st_mtime_ns
    fitting.train(config, data, run)
    assert (run.path / "model" / "params.npz").stat().st_mtime_ns == before
    assert "fitted already" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"", b"text", None])
def test_load_names_a_damaged_model(run, damage):
    path = run.path / "model" / "params.npz"
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    with pytest.raises(UserError, match="is damaged; train again") as error:
        fitting.load(run)
    assert "\n" not in str(error.value)


def test_train_fits_a_damaged_model_anew(config, data, run, capsys):
    path = run.path / "model" / "params.npz"
    with np.load(path) as arrays:
        params = {name: arrays[name] for name in arrays.files}
    np.savez(path, **(params | {"mean": params["mean"][:3]}))
    fitting.train(config, data, run)
    assert "is damaged" in capsys.readouterr().out
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["mean"], params["mean"])


def test_load_without_a_model_says_to_train(run):
    (run.path / "model" / "params.npz").unlink()
    with pytest.raises(UserError, match="no model in it yet; train first"):
        fitting.load(run)
