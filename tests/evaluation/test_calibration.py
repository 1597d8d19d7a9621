"""Calibration: temperatures against a grid search, errors against sums written out."""

import json

import numpy as np
import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration, metrics


def _draw(temperature, *, n=3000, num_classes=4, seed=0):
    """Scores of a model that is too sure by a factor, and labels drawn from the truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, num_classes))
    truth = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    labels = (np.exp(truth).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return calibration.scale(truth, 1 / temperature), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_recovers_the_scale_of_overconfident_scores(temperature):
    scores, labels = _draw(temperature)
    assert calibration.fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.1)


def test_fit_temperature_is_the_best_of_a_grid():
    scores, labels = _draw(2.0, n=100)
    grid = np.geomspace(0.1, 10, 2001)
    losses = [metrics.log_loss(calibration.scale(scores, t), labels) for t in grid]
    temperature = calibration.fit_temperature(scores, labels)
    assert temperature == pytest.approx(grid[np.argmin(losses)], rel=0.003)


def test_fit_temperature_stays_within_bounds():
    scores, _ = _draw(1.0, n=30)
    assert calibration.fit_temperature(scores, scores.argmax(axis=1)) == 0.05
    assert calibration.fit_temperature(scores, scores.argmin(axis=1)) == 20
    certain = np.log(np.array([[1.0, 1e-310], [1.0, 1e-310]]))
    certain[:, 1] = -np.inf
    assert 0.05 <= calibration.fit_temperature(certain, np.array([0, 1])) <= 20
    with pytest.raises(ValueError, match="labels is empty"):
        calibration.fit_temperature(scores[:0], np.zeros(0, int))


def test_scale_gives_probabilities_and_keeps_their_order():
    scores, _ = _draw(1.0, n=20)
    for temperature in (0.3, 1.0, 7.0):
        scaled = calibration.scale(scores, temperature)
        np.testing.assert_allclose(np.exp(scaled).sum(axis=1), 1)
        np.testing.assert_array_equal(scaled.argsort(axis=1), scores.argsort(axis=1))
        powers = np.exp(scores) ** (1 / temperature)
        np.testing.assert_allclose(np.exp(scaled), powers / powers.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(calibration.scale(scores, 1.0), scores, atol=1e-12)


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_expected_calibration_error_is_written_out(num_bins):
    scores, labels = _draw(3.0, n=300)
    confidence, correct = np.exp(scores).max(axis=1), scores.argmax(axis=1) == labels
    expected = 0.0
    for i in range(num_bins):
        inside = (confidence > i / num_bins) & (confidence <= (i + 1) / num_bins)
        if inside.any():
            gap = abs(confidence[inside].mean() - correct[inside].mean())
            expected += inside.mean() * gap
    value = calibration.expected_calibration_error(scores, labels, num_bins=num_bins)
    assert value == pytest.approx(expected)


def test_expected_calibration_error_falls_with_the_right_temperature():
    scores, labels = _draw(3.0)
    before = calibration.expected_calibration_error(scores, labels)
    after = calibration.expected_calibration_error(calibration.scale(scores, 3.0), labels)
    assert before > 0.2
    assert after < 0.04


def test_reliability_puts_every_track_in_one_bin():
    scores = np.log(np.array([[1.0, 1e-300], [0.5, 0.5], [0.6, 0.4]]))
    bins = calibration.reliability(scores, np.array([0, 1, 1]), num_bins=10)
    assert bins.counts.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert bins.accuracy[9] == 1 and bins.accuracy[5] == 0
    assert np.isnan(bins.confidence[0])


def test_load_temperature_returns_the_fitted_one(tmp_path):
    assert calibration.load_temperature(tmp_path) is None
    scores, labels = _draw(2.0, n=200)
    value = calibration.write_temperature(tmp_path, scores, labels, checkpoint_step=40)
    assert value == calibration.fit_temperature(scores, labels)
    assert calibration.load_temperature(str(tmp_path)) == value
    assert calibration.load_temperature(tmp_path, checkpoint_step=40) == value
    assert calibration.load_temperature(tmp_path, checkpoint_step=41) is None
    (record,) = json.loads((tmp_path / "eval/temperature.json").read_text())
    assert record["n"] == 200
    assert record["log_loss_after"] < record["log_loss_before"]


def test_load_temperature_knows_each_checkpoint(tmp_path):
    for step, truth in ((10, 2.0), (20, 0.5), (10, 3.0)):
        calibration.write_temperature(tmp_path, *_draw(truth, n=400), checkpoint_step=step)
    assert calibration.load_temperature(tmp_path, checkpoint_step=20) < 1
    assert calibration.load_temperature(tmp_path, checkpoint_step=10) > 2.4
    assert calibration.load_temperature(tmp_path) > 2.4


@pytest.mark.parametrize(
    "text", ["", "[1]", "[{}]", '[{"temperature": -1, "checkpoint_step": 0}]', '{"temperature": 1}']
)
def test_load_temperature_names_a_damaged_file(tmp_path, text):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/temperature.json").write_text(text)
    with pytest.raises(UserError, match=r"temperature.json: is damaged; delete it"):
        calibration.load_temperature(tmp_path)
