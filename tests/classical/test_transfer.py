"""The frozen MusiCNN under the classical systems: its vectors, scores and exports."""

import jax
import numpy as np
import pytest
from jax import export

from mgr_jax import hearing, named_configs, pretrained, workdir
from mgr_jax import system as system_lib
from mgr_jax.classical import fitting, tag_head, transfer
from mgr_jax.data import batches, windows
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.export import contract, stablehlo
from mgr_jax.features import musicnn
from mgr_jax.features.frontend import make_frontend
from tests.export import trained

pytestmark = pytest.mark.e2e

LENGTH = 64_000  # 4 s, two windows


def _config(cache=""):
    config = named_configs.musicnn()
    config.data.clip_seconds, config.data.cache = LENGTH / 16_000, str(cache)
    config.data.num_grooves, config.data.clips_per_groove, config.data.num_workers = 3, 1, 1
    config.model.l2 = (0.1,)
    return config


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    return dataset_lib.open_dataset(_config(tmp_path_factory.mktemp("cache")))


@pytest.fixture(name="vectors", scope="module")
def _vectors():
    return jax.jit(transfer.make_vectors(_config().features))


@pytest.fixture(name="waveforms", scope="module")
def _waveforms():
    return np.stack([trained.noise(LENGTH, seed=seed) for seed in range(4)])


def test_make_vectors_gives_mean_and_deviation_of_the_embedding(vectors, waveforms):
    module, variables, _ = pretrained.load_musicnn()
    embed = jax.jit(lambda x: module.apply(variables, x).embedding)
    lengths = np.full(4, LENGTH, np.int32)
    values = np.asarray(vectors(waveforms, None, lengths))
    for waveform, value in zip(waveforms, values, strict=True):
        rows = np.asarray(embed(musicnn.windows(waveform)), np.float64)
        assert rows.shape == (2, 200) and rows.std(axis=0).min() >= 0
        expected = np.concatenate([rows.mean(axis=0), rows.std(axis=0)])
        assert np.abs(value - expected).max() <= 1e-5 * np.abs(expected).max()


def test_make_vectors_repeats_short_audio(vectors, waveforms):
    half = LENGTH // 2
    padded = np.where(np.arange(LENGTH) < half, waveforms, 0)
    filled = np.stack([windows.repeat(waveform, half) for waveform in padded])
    repeated = np.tile(waveforms[:, :half], 2)
    short = np.asarray(vectors(filled, None, np.full(4, half, np.int32)))
    full = np.asarray(vectors(repeated, None, np.full(4, LENGTH, np.int32)))
    assert np.abs(short - full).max() <= 1e-5 * np.abs(full).max()


def test_make_vectors_is_the_front_end_for_other_kinds():
    features = named_configs.mfcc_stats().features
    waveform = trained.noise(22_050)[None]
    assert np.array_equal(
        transfer.make_vectors(features)(waveform), make_frontend(features)(waveform)
    )


@pytest.fixture(name="trained_run", scope="module")
def _trained_run(data, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("trained") / "run")
    config = _config(data.clips.folder.parent.parent)
    run = workdir.create(path, config, data.catalog, data.split)
    fitting.train(run.config, data, run)
    return run


def test_score_tracks_is_that_of_the_windows_and_takes_the_cache(data, trained_run, monkeypatch):
    fitted, part = system_lib.load(trained_run.path), data.parts["valid"]
    predict = system_lib.compiled(fitted)
    expected = tracks_lib.score_tracks(predict, part, batch_size=4, window=LENGTH)
    monkeypatch.setattr(fitting, "_extract", None)
    actual = fitting.score_tracks(trained_run.config, fitted.variables, part)
    assert np.abs(actual - expected).max() <= 1e-4
    assert fitted.variables["mean"].shape == (400,)


def test_windows_are_scored_with_their_distance_to_the_training_tracks(data, trained_run):
    fitted, part = system_lib.load(trained_run.path), data.parts["train"]
    x, y = fitting.extract(trained_run.config, part)
    # Each class has a single track here, so that training held none out.
    assert transfer.relative_distances(fitted.variables, x) is None
    artists, folds = [str(i) for i in range(len(y))], np.arange(len(y)) % 2
    guarded = fitted.variables | transfer.fit_distance(x, y, folds, artists, num_classes=10)
    batch = next(batches.eval_batches(part, batch_size=4, window=LENGTH))
    scores, strangeness = hearing.make_score(fitted.config, None, guarded)(batch)
    np.testing.assert_allclose(scores, system_lib.compiled(fitted)(batch), atol=1e-5)
    expected = transfer.relative_distances(guarded, x[:4])
    np.testing.assert_allclose(strangeness, expected, rtol=1e-3)
    assert (strangeness > 0).all() and np.isfinite(strangeness).all()


def test_fit_distance_is_one_at_the_rarest_held_out_vectors():
    random = np.random.default_rng(0)
    y, folds = np.arange(60) // 3 % 4, np.arange(60) // 12 % 2
    x, artists = random.normal(size=(60, 8)) + 2 * np.eye(4, 8)[y], [str(i) for i in range(60)]
    params = transfer.fit_distance(x, y, folds, artists, num_classes=5)
    _, distances, threshold = tag_head.held_out(x, y, folds, artists, num_classes=5)
    assert threshold == pytest.approx(np.quantile(distances, 0.99))
    head = tag_head.fit(x, y, artists, num_classes=5)
    actual = transfer.relative_distances(params, x)
    np.testing.assert_allclose(actual, tag_head.distances(head, x) / threshold, rtol=1e-4)
    assert all(np.isfinite(value).all() for value in params.values())
    assert transfer.relative_distances(params, x[:1] + 30)[0] > 1


def test_stablehlo_of_a_symbolic_batch_is_the_system(trained_run, waveforms):
    fitted = system_lib.load(trained_run.path)
    (batch,) = export.symbolic_shape("batch")
    arguments = contract.inputs(fitted.config, batch).values()
    exported = export.export(jax.jit(stablehlo.make_function(fitted)))(*arguments)
    lengths = np.array([LENGTH, LENGTH // 3, LENGTH, 50_000], np.int32)
    pairs = zip(waveforms, lengths, strict=True)
    waveforms = np.stack([windows.repeat(waveform, length) for waveform, length in pairs])
    actual = np.asarray(exported.call(waveforms.astype(np.float32), lengths))
    predict = system_lib.compiled(fitted)
    expected = np.exp(predict({"waveform": waveforms, "num_samples": lengths}))
    assert np.abs(actual - expected).max() <= 1e-4
