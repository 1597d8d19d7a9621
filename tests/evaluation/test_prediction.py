"""A prediction in a notebook: text is escaped, and the picture has what the windows say."""

import re

import numpy as np
import pytest

from mgr_jax.evaluation.prediction import Prediction, verdict

EVIL = "<script>alert(1)</script>"
LABELS = ("blues", "classical", "jazz", "metal", "pop", EVIL)


def predicted(num_windows=4, **changes):
    windows = np.full((num_windows, len(LABELS)), 0.1)
    windows[:, LABELS.index(EVIL)] = 0.5
    values = {
        "label": EVIL,
        "probabilities": {EVIL: 0.5} | dict.fromkeys(LABELS[:-1], 0.1),
        "labels": LABELS,
        "windows": windows,
        "unlike": np.zeros(num_windows, bool),
        "window_starts_seconds": np.arange(num_windows) * 3.0,
        "window_seconds": 3.0,
        "duration_seconds": 3.0 * num_windows,
        "note": "",
        "cautions": (),
        "confidence": 0.5,
        "uncertain": False,
    }
    return Prediction(**values | changes)


def test_repr_is_one_short_line():
    assert predicted() != predicted()  # No error of comparing arrays.
    assert repr(predicted(label="pop")) == "Prediction('pop', 50 %, 12.0 s)"
    assert repr(predicted(label="pop", uncertain=True)) == (
        "Prediction('pop', 50 %, uncertain, 12.0 s)"
    )


def test_html_escapes_labels_and_remarks():
    shown = predicted(note=EVIL, cautions=(EVIL, "\x1b[31m"))._repr_html_()
    assert "<script" not in shown and "\x1b" not in shown
    assert shown.count("&lt;script&gt;") >= 4


def test_html_marks_doubt_only_where_there_is_some():
    assert "not sure" not in predicted()._repr_html_()
    assert "not sure: perhaps &lt;script" in predicted(uncertain=True)._repr_html_()


@pytest.mark.parametrize(
    ("probabilities", "threshold", "text"),
    [
        ({"pop": 0.45, "disco": 0.3, "rock": 0.25}, 0.5, "not sure: pop or disco"),
        ({"pop": 0.3, "disco": 0.2, "rock": 0.2, "jazz": 0.3}, 0.5, "not sure: pop or disco"),
        ({"pop": 0.3, "disco": 0.19, "rock": 0.01}, 0.5, "not sure: pop, disco or rock"),
        ({"pop": 0.3, "disco": 0.15, "rock": 0.04, "jazz": 0.02}, 0.5, "not sure: no genre stands"),
        (dict.fromkeys("abcdefghij", 0.1), 0.5, "not sure: no genre stands out"),
        ({"pop": 0.6, "disco": 0.4}, 0.9, "not sure: pop or disco"),
        ({"pop": 0.7, "disco": 0.3 - 1e-12}, 1.0, "not sure: pop or disco"),
        # Of music that is unlike the training's, whatever the confidence.
        ({"pop": 0.9, "disco": 0.1}, 0.5, "not sure: perhaps pop"),
    ],
)
def test_verdict_of_doubt_names_the_fewest_genres_that_reach_the_threshold(
    probabilities, threshold, text
):
    doubtful = predicted(probabilities=probabilities, uncertain=True, threshold=threshold)
    assert verdict(doubtful).startswith(text)
    assert verdict(predicted(label="pop", probabilities=probabilities)) == "pop"


def test_verdict_takes_the_set_if_there_is_one():
    assert verdict(predicted(label_set=("a", "b", "c", "d"), uncertain=True)) == (
        "not sure: a, b, c or d"
    )


@pytest.mark.parametrize("num_windows", [1, 7, 120, 1000])
def test_html_has_a_row_a_genre_and_at_most_120_columns(num_windows):
    shown = predicted(num_windows)._repr_html_()
    shades = re.findall(r'y="(\d)" .*?fill-opacity="([\d.]+)"', shown)
    columns = min(num_windows, 120)
    assert len(shades) == 5 * columns
    assert {shade for row, shade in shades if row == "0"} == {"0.50"}
    assert {shade for row, shade in shades if row != "0"} == {"0.10"}
