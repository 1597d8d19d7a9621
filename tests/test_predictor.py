"""From a workdir to probabilities, in one process."""

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax import predictor, workdir
from mgr_jax.classical import fitting
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.audio import AudioError
from mgr_jax.errors import UserError


@pytest.fixture(name="trained", scope="module")
def _trained(tmp_path_factory):
    """Data set and predictor of a logistic regression on two windows of half a second."""
    folder = tmp_path_factory.mktemp("predictor")
    config = config_lib.Config()
    config.data.clip_seconds, config.data.window_seconds = 1.0, 0.5
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    config.data.cache, config.data.num_workers = str(folder / "cache"), 1
    config.features.kind, config.model.name = "mfcc_stats", "logistic"
    config.train.batch_size = 3
    data = dataset_lib.open_dataset(config)
    run = workdir.create(str(folder / "run"), config, data.catalog, data.split)
    fitting.train(config, data, run)
    return data, predictor.load(str(folder / "run"))


def test_predict_of_a_file_equals_the_judgement_of_the_track(trained, tmp_path):
    data, loaded = trained
    part = data.parts["test"]
    expected = np.exp(loaded.judge(part))
    for index in (0, 7):
        waveform = part.clips.waveform(part.rows[index])
        soundfile.write(tmp_path / "song.wav", waveform, 22_050, subtype="FLOAT")
        probabilities, note = loaded.predict(str(tmp_path / "song.wav"))
        assert not note
        found = [probabilities[label] for label in loaded.run.labels]
        np.testing.assert_allclose(found, expected[index], rtol=1e-4, atol=1e-6)


def test_predict_is_best_first_and_sums_to_one(trained, tmp_path):
    _, loaded = trained
    noise = np.random.default_rng(0).normal(size=(70_000, 2)) * 0.1
    soundfile.write(tmp_path / "long.flac", noise, 44_100)
    probabilities, _ = loaded.predict(str(tmp_path / "long.flac"))
    values = list(probabilities.values())
    assert set(probabilities) == set(loaded.run.labels)
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-9)


def test_predict_waveform_means_over_all_windows(trained):
    _, loaded = trained
    waveform = np.random.default_rng(1).normal(size=3 * 11_025).astype(np.float32) * 0.1
    pieces = [loaded.predict_waveform(piece) for piece in np.split(waveform, 3)]
    mean = np.mean(pieces, axis=0)
    expected = mean - np.log(np.exp(mean).sum())
    np.testing.assert_allclose(loaded.predict_waveform(waveform), expected, atol=1e-4)


def test_predict_of_a_short_file_is_a_padded_window(trained, tmp_path):
    _, loaded = trained
    soundfile.write(tmp_path / "short.wav", np.full(500, 0.1), 22_050)
    assert sum(loaded.predict(str(tmp_path / "short.wav"))[0].values()) == pytest.approx(1)


def test_predict_names_a_file_without_a_waveform(trained, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match="cannot be decoded"):
        trained[1].predict(str(tmp_path / "text.wav"))


def test_load_names_a_folder_that_is_no_workdir(tmp_path):
    with pytest.raises(UserError, match=r"no config.json in it"):
        predictor.load(str(tmp_path))
