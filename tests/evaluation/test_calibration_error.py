"""The calibration error in bins of equal counts: formulas written out, simulated coverage."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mgr_jax.evaluation import calibration, calibration_error
from tests.evaluation.calibrated import draw


def test_calibration_error_is_written_out_in_bins_of_equal_counts():
    scores, labels = draw(3.0, n=90)
    values = calibration_error.calibration_error(scores, labels)
    assert (values.n, values.num_bins) == (90, 6)
    confidence, correct = np.exp(scores).max(axis=1), scores.argmax(axis=1) == labels
    expected = sum(
        abs(confidence[rows].mean() - correct[rows].mean()) * len(rows) / 90
        for rows in np.array_split(np.argsort(confidence), 6)
    )
    assert values.error == pytest.approx(expected, abs=0.01)
    # Overconfident by far more than a calibrated model would look by chance.
    assert values.perfect < values.perfect95 < values.interval[0]
    shuffled = np.random.default_rng(0).permutation(90)
    again = calibration_error.calibration_error(scores[shuffled], labels[shuffled])
    assert again.error == pytest.approx(values.error, abs=1e-12)


def test_calibration_error_of_equal_confidences_has_one_bin_and_a_closed_form():
    scores, labels = np.log(np.full((50, 2), [0.8, 0.2])), np.zeros(50, int)
    labels[:20] = 1
    values = calibration_error.calibration_error(scores, labels)
    assert values.num_bins == 1 and values.error == pytest.approx(0.2)
    # The mean of |X / n - p| of a binomial X, and its 95th percentile.
    x = np.arange(51)
    distance, weight = np.abs(x / 50 - 0.8), scipy_stats.binom.pmf(x, 50, 0.8)
    assert values.perfect == pytest.approx(distance @ weight, abs=0.003)
    order = np.argsort(distance)
    limit = distance[order][np.searchsorted(np.cumsum(weight[order]), 0.95)]
    assert values.perfect95 == pytest.approx(limit, abs=0.021)


def test_calibration_error_falls_with_the_right_temperature():
    scores, labels = draw(3.0)
    assert calibration_error.calibration_error(scores, labels).error > 0.2
    scaled = calibration.scale(scores, 3.0)
    assert calibration_error.calibration_error(scaled, labels).error < 0.04


@pytest.mark.parametrize("num_groups", [1, 2, 5])
def test_calibration_error_has_no_interval_for_few_groups_and_is_formatted(num_groups):
    scores, labels = draw(1.0, n=30)
    values = calibration_error.calibration_error(scores, labels, groups=np.arange(30) % num_groups)
    assert values.interval is None
    text = calibration_error.describe(values._asdict())
    assert text.startswith(f"{values.error:.3f} (n = 30, 2 bins of equal counts); a perfectly")
    values = calibration_error.calibration_error(scores, labels, groups=np.arange(30) % 6)
    low, high = values.interval
    assert f" [{low:.3f}, {high:.3f}] (n = 30" in calibration_error.describe(values._asdict())
    with pytest.raises(ValueError, match="labels is empty"):
        calibration_error.calibration_error(scores[:0], labels[:0])


@pytest.mark.slow
@pytest.mark.parametrize("per_group", [1, 3])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 3.0])
def test_calibration_error_interval_covers_the_truth(temperature, per_group):
    n, num_draws, covered, below = 60, 200, 0, 0
    scores, labels = draw(temperature, n=100_000, num_classes=10)
    confidence = np.exp(scores.max(axis=1))
    bins = np.searchsorted(np.quantile(confidence, [0.25, 0.5, 0.75]), confidence)
    gaps = confidence - (scores.argmax(axis=1) == labels)
    truth = np.abs(np.bincount(bins, gaps)).sum() / len(labels)
    groups = np.repeat(np.arange(n // per_group), per_group)
    for seed in range(num_draws):
        scores, labels = draw(temperature, n=n, num_classes=10, seed=seed + 1)
        # Seven tracks in ten are those of their group.
        same = np.random.default_rng(seed).random(n) < (0.7 if per_group > 1 else 0.0)
        source = np.where(same, groups * per_group, np.arange(n))
        values = calibration_error.calibration_error(scores[source], labels[source], groups=groups)
        covered += values.interval[0] - 1e-9 <= truth <= values.interval[1]
        below += values.error < values.perfect95
    assert covered >= 0.88 * num_draws
    if temperature == 1 and per_group == 1:
        assert 0.9 * num_draws <= below <= 0.99 * num_draws
