"""Doubted labels as text and pages."""

from mgr_jax.evaluation import results
from mgr_jax.evaluation.reports import labels_text

ROW = {
    "rank": 1,
    "track": "a|<b>",
    "given": "rock",
    "suggested": "metal",
    "doubt": 0.987,
    "probability": [0.001, 0.9],
    "confident": True,
}
CONFLICT = {"tracks": ["u", "v"], "labels": ["rock", "metal"], "evidence": "the same bytes"}


def _labels(num_rows, **changes):
    labels = {
        "conflicts": [CONFLICT],
        "method": "logistic regression on mfcc_stats, 3 x 5 folds by artist",
        "agreement": results.count([True] * 3 + [False], ["a", "a", "b", "c"]),
        "num_classes": 10,
        "share": 0.1,
        "share_ci95": [0.05, 0.15],
        "confident_share": 0.2,
        "rows": [ROW | {"rank": rank} for rank in range(1, num_rows + 1)],
    }
    return labels | changes


def test_text_has_pairs_first_and_then_the_doubted():
    text = labels_text.to_text(_labels(14))
    assert text.index("u (rock) = v (metal): the same bytes") < text.index("doubted labels (14)")
    assert "     1  a|<b>  rock, rather metal  0.99" in text
    assert "... and 2 more; --json=FILE or --page=FILE has all" in text
    assert "share of wrong labels 10.0 % [5.0, 15.0], if the models are sure of nothing but" in text
    assert "bootstrap over 3 artists" in text and "the most probable genre of 75.0 %" in text


def test_text_says_what_is_not_known():
    text = labels_text.to_text(_labels(1, share_ci95=None))
    assert "10.0 %, no interval: too few artists, if" in text
    assert "(mixture with any other label);" in text
    alone = results.count([True] * 3 + [False], ["a", "b", "c", "d"])
    text = labels_text.to_text(_labels(1, agreement=alone))
    assert "bootstrap over 4 tracks" in text and "artist)" not in text
    text = labels_text.to_text({"conflicts": [], "rows": None, "reason": "there is no audio"})
    assert text == (
        "labels    there is no audio: only the same audio under two labels can be shown"
    )


def test_text_says_that_models_guess():
    assert "guessing" not in labels_text.to_text(_labels(1, agreement=_agreement(40)))
    text = labels_text.to_text(_labels(1, agreement=_agreement(12)))
    assert "labels    the models are not distinguishable from guessing: the rest says" in text


def _agreement(num_correct):
    return results.count([i < num_correct for i in range(100)], [f"a{i}" for i in range(100)])


def test_pages_show_names_as_they_are(tmp_path):
    labels_text.write_page(tmp_path / "labels.md", "mine", _labels(2))
    text = (tmp_path / "labels.md").read_text()
    assert text.startswith("# Labels of mine\n") and "u (rock) = v (metal): the same bytes" in text
    assert r"| 2 | a\|" in text and "<b>" not in text
    labels_text.write_page(tmp_path / "labels.html", "mine", _labels(2, conflicts=[]))
    text = (tmp_path / "labels.html").read_text()
    assert "a|&lt;b&gt;" in text and "Same audio" not in text and "0.99" in text
