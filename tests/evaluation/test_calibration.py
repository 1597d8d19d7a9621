"""Calibration: temperatures against a grid search, errors against sums written out."""

import contextlib
import json

import numpy as np
import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration, metrics
from tests.evaluation.calibrated import draw


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_recovers_the_scale_of_overconfident_scores(temperature):
    scores, labels = draw(temperature)
    assert calibration.fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.1)


def test_fit_temperature_is_the_best_of_a_grid():
    scores, labels = draw(2.0, n=100)
    grid = np.geomspace(0.1, 10, 2001)
    losses = [metrics.log_loss(calibration.scale(scores, t), labels) for t in grid]
    temperature = calibration.fit_temperature(scores, labels)
    assert temperature == pytest.approx(grid[np.argmin(losses)], rel=0.003)


def test_fit_temperature_stays_within_bounds():
    scores, _ = draw(1.0, n=30)
    assert calibration.fit_temperature(scores, scores.argmax(axis=1)) == 0.05
    assert calibration.fit_temperature(scores, scores.argmin(axis=1)) == 20
    certain = np.log(np.array([[1.0, 1e-310], [1.0, 1e-310]]))
    certain[:, 1] = -np.inf
    assert 0.05 <= calibration.fit_temperature(certain, np.array([0, 1])) <= 20
    with pytest.raises(ValueError, match="labels is empty"):
        calibration.fit_temperature(scores[:0], np.zeros(0, int))


def test_scale_gives_probabilities_and_keeps_their_order():
    scores, _ = draw(1.0, n=20)
    for temperature in (0.3, 1.0, 7.0):
        scaled = calibration.scale(scores, temperature)
        np.testing.assert_allclose(np.exp(scaled).sum(axis=1), 1)
        np.testing.assert_array_equal(scaled.argsort(axis=1), scores.argsort(axis=1))
        powers = np.exp(scores) ** (1 / temperature)
        np.testing.assert_allclose(np.exp(scaled), powers / powers.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(calibration.scale(scores, 1.0), scores, atol=1e-12)


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_reliability_is_written_out(num_bins):
    scores, labels = draw(3.0, n=300)
    confidence, correct = np.exp(scores).max(axis=1), scores.argmax(axis=1) == labels
    bins = calibration.reliability(scores, labels, num_bins=num_bins)
    for i in range(num_bins):
        inside = (confidence > i / num_bins) & (confidence <= (i + 1) / num_bins)
        assert bins.counts[i] == inside.sum()
        if inside.any():
            means = bins.confidence[i], bins.accuracy[i]
            assert means == pytest.approx((confidence[inside].mean(), correct[inside].mean()))


def test_reliability_puts_every_track_in_one_bin():
    scores = np.log(np.array([[1.0, 1e-300], [0.5, 0.5], [0.6, 0.4]]))
    bins = calibration.reliability(scores, np.array([0, 1, 1]), num_bins=10)
    assert bins.counts.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert bins.accuracy[9] == 1 and bins.accuracy[5] == 0
    assert np.isnan(bins.confidence[0])


@pytest.mark.parametrize(("prior", "lowest"), [(0, 0.05), (20, 0.05), (500, 0.05), (20, 1.0)])
def test_fit_temperature_with_a_prior_is_the_best_of_a_grid(prior, lowest):
    """The prior is a number of tracks whose classes are as likely as the model says."""
    scores, labels = draw(0.5, n=100)
    grid = np.geomspace(0.2, 5, 2001)
    grid = grid[grid >= lowest]
    expected = [
        metrics.log_loss(scaled, labels) * 100
        - prior * (np.exp(scores) * scaled).sum(axis=1).mean()
        for scaled in (calibration.scale(scores, t) for t in grid)
    ]
    temperature = calibration.fit_temperature(scores, labels, prior=prior, lowest=lowest)
    assert temperature == pytest.approx(grid[np.argmin(expected)], rel=0.003)


def test_choose_temperature_is_one_where_the_model_is_calibrated():
    for seed in range(5):
        choice = calibration.choose_temperature(*draw(1.0, n=40, seed=seed))
        assert choice.temperature == 1 or 0.6 < choice.temperature < 1.6


def test_choose_temperature_is_fitted_where_it_helps_on_both_halves():
    for truth in (0.5, 3.0):
        scores, labels = draw(truth, n=600)
        choice = calibration.choose_temperature(scores, labels)
        fitted = calibration.fit_temperature(scores, labels, prior=40)
        assert choice.temperature == choice.fitted == fitted
        assert choice.held_back < choice.unscaled == metrics.log_loss(scores, labels)
        assert fitted == pytest.approx(truth, rel=0.15)


def test_choose_temperature_never_sharpens_on_tracks_that_chose_the_model():
    scores, labels = draw(0.4, n=600)
    assert calibration.choose_temperature(scores, labels).temperature < 0.6
    assert calibration.choose_temperature(scores, labels, chose_model=True).temperature == 1
    scores, labels = draw(3.0, n=600)
    assert calibration.choose_temperature(scores, labels, chose_model=True).temperature > 2


def test_choose_temperature_gives_way_to_one_where_a_half_loses():
    """Ten artists sure and right, two large ones sure and wrong: no half speaks for the other."""
    scores = np.log(np.full((40, 2), [0.7, 0.3]))
    labels, groups = np.zeros(40, int), [f"{i}" for i in range(20)] + ["a"] * 20
    labels[20:] = 1
    choice = calibration.choose_temperature(scores, labels, groups=groups)
    assert choice.fitted > 1.5 and choice.temperature == 1
    single = calibration.choose_temperature(scores, labels, groups=["a"] * 40)
    assert single.temperature == 1 and single.held_back is None


def test_halves_keep_groups_whole_and_are_of_equal_size():
    names = np.array(list("aaaaabbbbccdefgh"))
    first = calibration._half(names)
    assert first.sum() == 8
    for name in set(names):
        assert len(set(first[names == name])) == 1


def test_load_temperature_ignores_what_no_held_back_half_has_tried(tmp_path):
    (tmp_path / "eval").mkdir()
    record = {"temperature": 0.3, "checkpoint_step": 0, "part": "valid", "n": 40}
    (tmp_path / "eval/temperature.json").write_text(json.dumps([record]))
    assert calibration.load_temperature(tmp_path) is None
    record["log_loss_held_back"] = 1.0  # Of a version that kept no tracks.
    (tmp_path / "eval/temperature.json").write_text(json.dumps([record]))
    assert calibration.load_temperature(tmp_path) == 0.3
    assert calibration.load_tracks(tmp_path) is None


def test_load_tracks_returns_those_that_the_temperature_was_fitted_to(tmp_path):
    assert calibration.load_tracks(tmp_path) is None
    scores, labels = draw(2.0, n=40)
    groups = [f"{i // 2}" for i in range(40)]
    value = calibration.write_temperature(
        tmp_path, scores, labels, checkpoint_step=7, groups=groups, part="train"
    )
    tracks = calibration.load_tracks(tmp_path, checkpoint_step=7)
    scaled = calibration.scale(scores, value)[np.arange(40), labels]
    np.testing.assert_allclose(tracks.log_p, scaled, atol=2e-6)
    assert tracks.labels.tolist() == labels.tolist()
    assert (tracks.num_groups, tracks.part) == (20, "train")
    assert calibration.load_tracks(tmp_path, checkpoint_step=8) is None


def test_load_temperature_returns_the_fitted_one(tmp_path):
    assert calibration.load_temperature(tmp_path) is None
    scores, labels = draw(2.0, n=200)
    value = calibration.write_temperature(tmp_path, scores, labels, checkpoint_step=40)
    assert value == calibration.choose_temperature(scores, labels).temperature
    assert calibration.load_temperature(str(tmp_path)) == value
    assert calibration.load_temperature(tmp_path, checkpoint_step=40) == value
    assert calibration.load_temperature(tmp_path, checkpoint_step=41) is None
    (record,) = json.loads((tmp_path / "eval/temperature.json").read_text())
    assert record["n"] == 200
    assert record["log_loss_after"] < record["log_loss_before"]


def test_load_temperature_knows_each_checkpoint(tmp_path):
    for step, truth in ((10, 2.0), (20, 0.5), (10, 3.0)):
        calibration.write_temperature(tmp_path, *draw(truth, n=400), checkpoint_step=step)
    assert calibration.load_temperature(tmp_path, checkpoint_step=20) < 1
    assert calibration.load_temperature(tmp_path, checkpoint_step=10) > 2.4
    assert calibration.load_temperature(tmp_path) > 2.4


def test_load_temperature_notices_a_changed_digit(tmp_path):
    calibration.write_temperature(tmp_path, *draw(2.0, n=12), checkpoint_step=40)
    path = tmp_path / "eval/temperature.json"
    text = path.read_text()
    for place in (i for i, c in enumerate(text) if c in "123456789"):
        changed = text[:place] + str(int(text[place]) - 1) + text[place + 1 :]
        with contextlib.suppress(ValueError):
            if json.loads(changed) == json.loads(text):  # The last digit of 17 may not count.
                continue
        path.write_text(changed)
        with pytest.raises(UserError, match="is damaged"):
            calibration.load_temperature(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[1]", "[{}]", '[{"temperature": -1, "checkpoint_step": 0}]', '{"temperature": 1}']
)
def test_load_temperature_names_a_damaged_file(tmp_path, text):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/temperature.json").write_text(text)
    with pytest.raises(UserError, match=r"temperature.json: is damaged; delete it"):
        calibration.load_temperature(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [20, 40, 200])
def test_choose_temperature_does_not_harm_other_tracks(truth, n):
    """The fitted one, without prior and held-back halves, costs 0.03 nats at n = 20, truth 1."""
    scores, labels = draw(truth, n=20_000, num_classes=10, spread=2.0)
    grid = np.geomspace(0.05, 20, 100)
    losses = [metrics.log_loss(calibration.scale(scores, t), labels) for t in grid]
    changes = []
    for seed in range(100):
        own = draw(truth, n=n, num_classes=10, seed=seed + 1, spread=2.0)
        temperature = calibration.choose_temperature(*own).temperature
        at = np.interp(np.log([temperature, 1.0]), np.log(grid), losses)
        changes.append(at[0] - at[1])
    assert np.mean(changes) < (0.003 if truth == 1 else -0.05)
    assert max(changes) < 0.1
