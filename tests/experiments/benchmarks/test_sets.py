"""The suite of sets: the draws are as they say, and the README's tables are those of the suite."""

import pathlib

import numpy as np
import pytest

from experiments.benchmarks import sets
from mgr_jax.evaluation import conformal

README = pathlib.Path(conformal.__file__).with_name("README.md")


def _readme_row(head, first):
    """Return the cells of the row that begins with `first`, in the table headed by `head`."""
    lines = README.read_text("utf-8").partition(f"\n| {head} |")[2].splitlines()
    row = next(line for line in lines if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize("icc", sets._ICCS)
def test_tracks_of_an_artist_have_the_correlation(icc):
    """That of the logits of a wrong class, up to a constant for each track."""
    tracks = sets._draw(np.random.default_rng(0), 4000, icc, uneven=False)
    log_p = tracks.log_p.reshape(4000, 5, 10)
    right = tracks.labels.reshape(4000, 5)
    assert (right == right[:, :1]).all()
    rows = np.arange(4000)[:, None], np.arange(5)[None]
    contrast = log_p[*rows, (right + 1) % 10] - log_p[*rows, (right + 2) % 10]
    assert np.corrcoef(contrast[:, 0], contrast[:, 1])[0, 1] == pytest.approx(icc, abs=0.04)
    assert (log_p.argmax(axis=2) == right).mean() == pytest.approx(0.5, abs=0.03)


def test_table_has_a_row_for_each_number_of_artists():
    rows = [
        sets.measure(9, icc, uneven=uneven, num_draws=2)
        for uneven in (False, True)
        for icc in sets._ICCS
    ]
    lines = sets.table(rows)
    assert sum(line.startswith("| 9 | ") for line in lines) == 2
    assert all(line.count("|") == 6 for line in lines if line.startswith("| 9 | "))
    assert rows[0]["coverage"] > 0.8 and 1 <= rows[0]["size"] <= 10


@pytest.mark.slow
@pytest.mark.parametrize(("number", "icc", "uneven"), [(9, 0.0, False), (20, 0.8, True)])
def test_readme_has_the_cells_of_the_suite(number, icc, uneven):
    head = (
        "artists of 1 to 20 tracks, the easier the more" if uneven else "artists of 5 tracks each"
    )
    cells = _readme_row(head, number)
    row = sets.measure(number, icc, uneven=uneven)
    assert cells[1] == str(row["tracks"])
    assert cells[2 + sets._ICCS.index(icc)] == sets.to_cell(row)


@pytest.mark.slow
def test_readme_has_the_row_of_the_gtzan_model():
    row = sets.measure_gtzan()
    assert _readme_row("held-out tracks of the GTZAN model", "random halves of the artists")[
        1:
    ] == [
        str(row["artists"]),
        str(row["tracks"]),
        sets.to_cell(row),
    ]
    assert row["tracks"] >= 200 and row["coverage"] == pytest.approx(0.9, abs=0.02)
