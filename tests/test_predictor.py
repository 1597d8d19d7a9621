"""From a workdir to probabilities, in one process."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import mgr_jax
from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.classical import fitting
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.audio import AudioError
from mgr_jax.errors import UserError
from mgr_jax.evaluation import conformal
from mgr_jax.evaluation.prediction import either


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
    return data, mgr_jax.load(str(folder / "run"))


def _noise(num_samples, *, seed=0):
    return np.random.default_rng(seed).normal(size=num_samples).astype(np.float32) * 0.1


def test_predict_of_a_file_equals_score_tracks(trained, tmp_path):
    data, loaded = trained
    part = data.parts["test"]
    expected = np.exp(loaded.score_tracks(part))
    for index in (0, 7):
        waveform = part.clips.waveform(part.rows[index])
        soundfile.write(tmp_path / "song.wav", waveform, 22_050, subtype="FLOAT")
        prediction = loaded.predict(tmp_path / "song.wav")
        assert not prediction.note
        actual = [prediction.probabilities[label] for label in loaded.labels]
        np.testing.assert_allclose(actual, expected[index], rtol=1e-4, atol=1e-6)


def test_predict_is_best_first_and_sums_to_one(trained, tmp_path):
    _, loaded = trained
    soundfile.write(tmp_path / "long.flac", _noise(140_000).reshape(-1, 2), 44_100)
    prediction = loaded.predict(tmp_path / "long.flac")
    values = list(prediction.probabilities.values())
    assert set(prediction.probabilities) == set(loaded.labels)
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-9)
    assert prediction.label == next(iter(prediction.probabilities))
    assert prediction.duration_seconds == pytest.approx(70_000 / 44_100)
    assert prediction.confidence == pytest.approx(values[0])  # Nothing is calibrated here.


def test_predict_gives_a_set_with_a_coverage(trained):
    _, loaded = trained
    with pytest.raises(UserError, match="has no tracks to calibrate sets of genres with; train"):
        loaded.predict(_noise(11_025), 22_050, coverage=0.9)
    plain = loaded.predict(_noise(11_025), 22_050)
    assert plain.label_set == ()
    values = list(plain.probabilities.values())
    for count in (1, 2, 3):
        least = np.log([values[count - 1] - 1e-6] * 9)
        tracks = conformal.Calibration(least, np.zeros(9, int), np.arange(9), "train")
        system = dataclasses.replace(loaded.system, calibration=tracks)
        calibrated = dataclasses.replace(loaded, system=system)
        prediction = calibrated.predict(_noise(11_025), 22_050, coverage=0.9, threshold=1)
        assert prediction.label_set == tuple(plain.probabilities)[:count]
        assert prediction.uncertain == (count > 1)
        assert either(prediction.label_set) in repr(prediction)
        with pytest.raises(ValueError, match="coverage is 9; it must be above 0 and below 1"):
            calibrated.predict(_noise(11_025), 22_050, coverage=9)
        with pytest.raises(ValueError, match=r"coverage is .0\.9.; it must be above 0"):
            calibrated.predict(_noise(11_025), 22_050, coverage="0.9")
    full = calibrated.predict(_noise(11_025), 22_050, coverage=0.95)  # Takes 19 artists.
    assert len(full.label_set) == len(loaded.labels) and full.uncertain


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_predict_gives_each_window_as_it_is_alone(trained, overlap):
    _, loaded = trained
    window, waveform = 11_025, _noise(3 * 11_025 + 800)
    prediction = loaded.predict(waveform, 22_050, overlap=overlap)
    last = len(waveform) - window
    starts = [*range(0, last, round(window * (1 - overlap))), last]
    np.testing.assert_allclose(prediction.window_starts_seconds, np.array(starts) / 22_050)
    assert prediction.window_seconds == 0.5
    for start, row in zip(starts, prediction.windows, strict=True):
        alone = loaded.predict(waveform[start : start + window], 22_050)
        np.testing.assert_allclose(row, alone.windows[0], atol=1e-5)
    mean = np.log(prediction.windows).mean(axis=0)
    expected = np.exp(mean) / np.exp(mean).sum()
    actual = [prediction.probabilities[label] for label in loaded.labels]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_predict_of_a_waveform_equals_that_of_its_file(trained, tmp_path, channels):
    _, loaded = trained
    steps = (_noise(40_000 * channels) * 2**15).astype(np.int16).reshape(-1, channels)
    soundfile.write(tmp_path / "song.wav", steps, 32_000)
    of_file = loaded.predict(tmp_path / "song.wav")
    for waveform in (steps, steps / 2.0**15, (steps.astype(np.int32) * 2**16)):
        np.testing.assert_allclose(
            loaded.predict(waveform, 32_000).windows, of_file.windows, atol=1e-5
        )


def test_predict_of_a_short_file_is_a_padded_window(trained, tmp_path):
    _, loaded = trained
    soundfile.write(tmp_path / "short.wav", np.full(500, 0.1), 22_050)
    prediction = loaded.predict(tmp_path / "short.wav")
    assert prediction.windows.shape == (1, 10)
    assert prediction.duration_seconds == pytest.approx(500 / 22_050)


@pytest.mark.parametrize("length", [1, 100])
def test_predict_is_uncertain_of_less_than_a_frame(trained, tmp_path, length):
    _, loaded = trained
    soundfile.write(tmp_path / "tiny.wav", np.full(length, 0.3), 22_050)
    prediction = loaded.predict(tmp_path / "tiny.wav")
    assert prediction.uncertain
    assert prediction.note == f"shorter than a frame: {length} of 2048 samples at 22050 Hz"


def test_predict_takes_an_open_file_and_names_one_that_is_missing(trained, tmp_path):
    _, loaded = trained
    soundfile.write(tmp_path / "song.wav", _noise(30_000), 22_050)
    of_file = loaded.predict(tmp_path / "song.wav")
    of_bytes = loaded.predict(io.BytesIO((tmp_path / "song.wav").read_bytes()))
    np.testing.assert_array_equal(of_bytes.windows, of_file.windows)
    with pytest.raises(AudioError, match=r"^nofile: cannot be decoded \(No such file"):
        loaded.predict("nofile")


def test_predict_of_a_waveform_of_another_scale_has_a_note_or_the_same_answer(trained):
    _, loaded = trained
    waveform = _noise(30_000)
    expected = loaded.predict(waveform, 22_050)
    narrow = loaded.predict(np.rint(waveform * 2**15).astype(np.int32), 22_050)
    np.testing.assert_allclose(narrow.windows, expected.windows, atol=1e-3)
    assert narrow.note.endswith("taken for samples of 16 bits")
    assert loaded.predict(waveform * 2**15, 22_050).note.startswith("its samples reach")
    for wrong in (np.stack([waveform] * 2), waveform[None]):
        with pytest.raises(ValueError, match=r"\[T, channels\]"):
            loaded.predict(wrong, 22_050)


def test_predict_files_keeps_the_order_and_goes_on_after_a_bad_file(trained, tmp_path):
    _, loaded = trained
    paths = []
    for index, seconds in enumerate((0.2, 3.1, 0.5, 1.7, 0.6)):
        paths.append(str(tmp_path / f"{index}.wav"))
        soundfile.write(paths[-1], _noise(int(22_050 * seconds), seed=index), 22_050)
    (tmp_path / "text.wav").write_text("no audio")
    paths.insert(2, str(tmp_path / "text.wav"))
    results = list(loaded.predict_files(paths))
    assert [path for path, _ in results] == paths
    assert isinstance(results[2][1], AudioError)
    for path, prediction in results[:2] + results[3:]:
        alone = loaded.predict(path)
        assert prediction.label == alone.label
        np.testing.assert_allclose(prediction.windows, alone.windows, atol=1e-5)
    proba = loaded.predict_proba([paths[0], paths[4]])
    assert proba.shape == (2, 10)
    assert loaded.labels[proba[1].argmax()] == results[4][1].label
    with pytest.raises(AudioError, match=r"text.wav: cannot be decoded"):
        loaded.predict_proba(paths)


def test_predict_is_uncertain_below_the_threshold(trained):
    _, loaded = trained
    waveform = _noise(20_000)
    confidence = loaded.predict(waveform, 22_050).confidence
    assert loaded.predict(waveform, 22_050, threshold=confidence + 0.01).uncertain
    assert not loaded.predict(waveform, 22_050, threshold=confidence - 0.01).uncertain


def test_predict_refuses_audio_that_is_too_long(trained, tmp_path):
    _, loaded = trained
    soundfile.write(tmp_path / "song.wav", _noise(22_050), 22_050)
    assert loaded.predict(tmp_path / "song.wav", max_seconds=1.0).duration_seconds == 1.0
    with pytest.raises(AudioError, match=r"is longer than 0.9 s"):
        loaded.predict(tmp_path / "song.wav", max_seconds=0.9)
    with pytest.raises(AudioError, match=r"is longer than 0.9 s"):
        loaded.predict(_noise(22_050), 22_050, max_seconds=0.9)


def test_predict_names_a_bad_argument(trained, tmp_path):
    _, loaded = trained
    with pytest.raises(ValueError, match="sample_rate is None"):
        loaded.predict(_noise(100))
    with pytest.raises(ValueError, match="sample_rate is for a waveform"):
        loaded.predict(tmp_path / "song.wav", 22_050)
    with pytest.raises(ValueError, match="waveform is"):
        loaded.predict(np.zeros((2, 2, 2)), 22_050)
    with pytest.raises(ValueError, match="overlap is 1"):
        loaded.predict_files([], overlap=1)
    for threshold in (-0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"threshold is .*; it must be from 0 to 1"):
            loaded.predict(_noise(100), 22_050, threshold=threshold)
    with pytest.raises(ValueError, match="threshold is 50"):
        loaded.predict_files([], threshold=50)
    with pytest.raises(ValueError, match="max_seconds is 0"):
        loaded.predict_files([], max_seconds=0)
    with pytest.raises(AudioError, match="is silent"):
        loaded.predict(np.zeros(1000), 22_050)


def test_predict_names_a_file_without_a_waveform(trained, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match="cannot be decoded"):
        trained[1].predict(tmp_path / "text.wav")


def test_describe_says_that_nothing_was_evaluated(trained):
    assert trained[1].describe() == ("logistic trained on band, protocol listed: not evaluated")


def test_load_names_a_folder_that_is_no_workdir(tmp_path):
    with pytest.raises(UserError, match=r"no config.json in it"):
        mgr_jax.load(str(tmp_path))


def test_import_is_fast_and_starts_no_backend():
    script = (
        "import mgr_jax, sys; print(mgr_jax.load.__name__,"
        " [name for name in ('jax', 'numpy', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["load", "[]"], done.stderr
