"""Confusion matrices at the width of a column: numbers stay in their cells, names apart."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mgr_jax.evaluation.reports import confusion

GTZAN = (
    "blues", "classical", "country", "disco", "hiphop",
    "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
LONG = [f"{name} {kind}" for kind in ("alternative", "old-time / folk") for name in "abcdefghij"]


def _figure(num_classes, *, normalised):
    counts = np.random.default_rng(0).integers(0, 40, (num_classes, num_classes))
    labels = [*GTZAN, *LONG, *(f"experimental pop {i}" for i in range(70))][:num_classes]
    figure = confusion.figure(counts, labels, "", normalised=normalised)
    figure.set_dpi(300)
    FigureCanvasAgg(figure).draw()
    return figure


def _overlap(boxes):
    return [
        (a, b) for i, a in enumerate(boxes) for b in boxes[:i]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("num_classes", "numbered"),
    [
        (2, True),
        (10, True),
        pytest.param(30, True, marks=pytest.mark.slow),
        pytest.param(50, False, marks=pytest.mark.slow),
        pytest.param(100, False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("normalised", [False, True])
def test_figure_is_read_at_the_width_of_a_column(num_classes, numbered, normalised):
    figure = _figure(num_classes, normalised=normalised)
    assert figure.get_size_inches()[0] == pytest.approx(8.4 / 2.54)
    axes, *bar = figure.axes
    assert bool(axes.texts) == numbered != bool(bar)
    cell = axes.transData.transform([1, 1]) - axes.transData.transform([0, 0])
    for text in axes.texts:
        assert text.get_window_extent().width < abs(cell[0])
        assert text.get_fontsize() > 3.2
    every = [axes, *axes.child_axes]
    for side in ("xaxis", "yaxis"):
        for one in every:
            names = [t for t in getattr(one, side).get_ticklabels() if t.get_text()]
            assert all(t.get_fontsize() >= 4.5 for t in names)
            if num_classes != 10 or side == "yaxis":  # Boxes of slanted names overlap.
                assert not _overlap([name.get_window_extent() for name in names])
    width, height = figure.canvas.get_width_height()
    for one in every:
        for name in (*one.get_xticklabels(), *one.get_yticklabels()):
            box = name.get_window_extent()
            assert box.x0 > -1 and box.x1 < width + 1 and box.y0 > -1 and box.y1 < height + 1


@pytest.mark.parametrize("length", [5, 9, 24])
def test_abbreviate_keeps_different_names_apart(length):
    labels = [*GTZAN, *LONG, "alternative", "alternative rock", "alternative", *"xy"]
    labels += [f"experimental pop {i} live" for i in range(30)]
    short = confusion.abbreviate(labels, length)
    assert max(map(len, short)) <= length
    assert len(set(short)) == len(set(labels))
    assert [name for name in labels if len(name) <= length] == [
        name for name, label in zip(short, labels, strict=True) if len(label) <= length
    ]
