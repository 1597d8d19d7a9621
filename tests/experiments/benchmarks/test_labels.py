"""The suite of labels."""

import numpy as np
import pytest

from experiments.benchmarks import labels


def test_table_has_a_row_for_each_rate():
    band = [
        {
            "kind": "band",
            "rate": rate,
            "seed": seed,
            "n": 240,
            "on_top": 18,
            "flipped": round(240 * rate),
            "likely": 20,
            "likely_right": 15,
            "share": rate,
            "covered": True,
            "confident_share": 0.2,
        }
        for rate in (0.0, 0.1)
        for seed in (0, 1)
    ]
    simulated = [
        {
            "kind": "simulated",
            "rate": 0.1,
            "artists": 20,
            "tails": tails,
            "covered": 0.95,
            "share": 0.11,
            "draws": 10,
        }
        for tails in (False, True)
    ]
    lines = labels.table([*band, *simulated])
    assert "| 10 % of 240 | 18, 18 of 24 | 20 (15), 20 (15) | 10.0, 10.0 % | 2 of 2 |" in lines[3]
    assert lines[-1] == "| 10 % | 20 | 11.0 %, 0.95 | 11.0 %, 0.95 |"


@pytest.mark.slow
def test_interval_covers_the_simulated_share():
    draws = [labels._draw(np.random.default_rng(i), 60, 0.1, tails=False) for i in range(30)]
    covered = [low <= truth <= high for _, low, high, truth in draws]
    assert np.mean(covered) >= 0.8
    assert np.mean([share for share, *_ in draws]) == pytest.approx(0.1, abs=0.03)


@pytest.mark.slow
def test_flipped_labels_of_the_band_are_on_top():
    """Of 10 %, at least 60 % of as many tracks on top are flipped ones, for each of three seeds."""
    rows = labels.measure_band(num_seeds=3, rates=(0.1,))
    assert len(rows) == 3
    for row in rows:
        assert row["on_top"] >= 0.6 * row["flipped"]
        assert row["likely_right"] >= 0.5 * row["likely"]
        assert row["covered"]
