"""Coverage and size of sets of genres (`mgr_jax.evaluation.conformal`).

Simulated: logits of artists whose tracks are correlated (ICC), of 5 tracks each, or of 1, 2, 5 or
20, and then the easier the more tracks there are. A row has many calibrations of the same number of
artists, each tried on tracks of many other artists. Measured: the held-out tracks of the GTZAN
model of the package, of which random halves of the artists calibrate sets for the other half.
"""

from typing import NamedTuple

import numpy as np

from mgr_jax.evaluation import conformal

QUICK = {"num_draws": 5}
_ARTISTS = (5, 9, 10, 20, 40, 60, 100, 200)
_ICCS = (0.0, 0.3, 0.8)
_COVERAGE = 0.9
_NUM_CLASSES = 10
_SKILL, _SPREAD = 2.2, 1.5  # Mean logit of the right class, and deviation of all logits.
_NUM_TESTED = 10_000


class Tracks(NamedTuple):
    """Log-probabilities [N, C], classes [N] and artists [N]."""

    log_p: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def run(*, num_draws: int = 500) -> list[dict]:
    """Return a row for each kind of artists, ICC and number, and one for the GTZAN model."""
    rows = [
        measure(number, icc, uneven=uneven, num_draws=num_draws)
        for uneven in (False, True)
        for icc in _ICCS
        for number in _ARTISTS
    ]
    return [*rows, measure_gtzan(num_draws=num_draws)]


def measure(number: int, icc: float, *, uneven: bool, num_draws: int = 500) -> dict:
    """Return mean coverage and size for `number` artists, and those by track for contrast."""
    rng = np.random.default_rng([number, int(10 * icc), uneven])
    tested = _one_each(_draw(rng, _NUM_TESTED, icc, uneven=uneven))
    truth = np.arange(len(tested.labels)), tested.labels
    held, sizes, by_track, counts = [], [], [], []
    for _ in range(num_draws):
        drawn = _draw(rng, number, icc, uneven=uneven)
        for groups, shares in ((drawn.groups.tolist(), held), (None, by_track)):
            tracks = conformal.make_calibration(drawn.log_p, drawn.labels, groups, "valid")
            least = conformal.threshold(tracks.log_p, tracks.groups, _COVERAGE)
            rule = conformal.Rule(_COVERAGE, np.full(_NUM_CLASSES, least), by_class=False)
            inside = conformal.members(tested.log_p, rule)
            shares.append(inside[truth].mean())
            if shares is held:
                sizes.append(inside.sum(axis=1).mean())
        counts.append(len(drawn.labels))
    return {
        "artists": number,
        "tracks": round(float(np.mean(counts))),
        "icc": icc,
        "uneven": uneven,
        "coverage": float(np.mean(held)),
        "tenth": float(np.quantile(held, 0.1)),
        "size": float(np.mean(sizes)),
        "by_track": float(np.mean(by_track)),
    }


def measure_gtzan(*, num_draws: int = 500) -> dict:
    """Return the mean coverage over halves of the artists of the GTZAN model's held-out tracks."""
    from mgr_jax import shipped
    from mgr_jax.pretrained import gtzan

    tracks = shipped.calibration_of(gtzan.load())
    assert tracks is not None
    rng, artists = np.random.default_rng(0), np.unique(tracks.groups)
    _, index, sizes = np.unique(tracks.groups, return_inverse=True, return_counts=True)
    weights, shares, by_track, counts = 1 / sizes[index], [], [], []
    for _ in range(num_draws):
        chosen = rng.permutation(artists)[: (len(artists) + 1) // 2]
        learned = np.isin(tracks.groups, chosen)
        least = conformal.threshold(tracks.log_p[learned], tracks.groups[learned], _COVERAGE)
        held = tracks.log_p >= least
        shares.append(weights[~learned] @ held[~learned] / weights[~learned].sum())
        by_track.append(held[~learned].mean())
        counts.append(int(learned.sum()))
    return {
        "artists": (len(artists) + 1) // 2,
        "tracks": round(float(np.mean(counts))),
        "icc": None,
        "uneven": None,
        "coverage": float(np.mean(shares)),
        "tenth": float(np.quantile(shares, 0.1)),
        "size": None,
        "by_track": float(np.mean(by_track)),
    }


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown tables."""
    lines: list[str] = []
    for uneven, kind in ((False, "5 tracks each"), (True, "1 to 20 tracks, the easier the more")):
        own = [row for row in rows if row["uneven"] == uneven]
        columns = " | ".join(f"ICC {icc:g}" for icc in _ICCS)
        lines += [f"| artists of {kind} | tracks | {columns} |", f"|{' --- |' * 5}"]
        for number in dict.fromkeys(row["artists"] for row in own):
            cells = {row["icc"]: row for row in own if row["artists"] == number}
            shown = " | ".join(to_cell(cells[icc]) for icc in _ICCS if icc in cells)
            lines.append(f"| {number} | {next(iter(cells.values()))['tracks']} | {shown} |")
        lines.append("")
    lines += [
        "| held-out tracks of the GTZAN model | artists | tracks | coverage |",
        f"|{' --- |' * 4}",
    ]
    for row in rows:
        if row["uneven"] is None:
            cells = (str(row["artists"]), str(row["tracks"]), to_cell(row))
            lines.append(f"| random halves of the artists | {' | '.join(cells)} |")
    return lines


def to_cell(row: dict) -> str:
    """Return coverage, its tenth percentile, mean size if known, and coverage by track."""
    numbers = [f"{row['coverage']:.3f}", f"{row['tenth']:.2f}"]
    if row["size"] is not None:
        numbers.append(f"{row['size']:.1f}")
    return " / ".join([*numbers, f"{row['by_track']:.3f}"])


def _draw(rng: np.random.Generator, number: int, icc: float, *, uneven: bool) -> Tracks:
    sizes = np.full(number, 5)
    if uneven:
        sizes = rng.choice([1, 2, 5, 20], number, p=[0.4, 0.3, 0.2, 0.1])
    groups = np.repeat(np.arange(number), sizes)
    labels = rng.integers(_NUM_CLASSES, size=number)[groups]
    shared = rng.normal(size=(number, _NUM_CLASSES))[groups]
    own = rng.normal(size=(len(groups), _NUM_CLASSES))
    logits = _SPREAD * (np.sqrt(icc) * shared + np.sqrt(1 - icc) * own)
    skill = _SKILL + (0.6 * (np.log(sizes[groups]) - 1) if uneven else 0.0)
    logits[np.arange(len(groups)), labels] += skill
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return Tracks(log_p, labels, groups)


def _one_each(tracks: Tracks) -> Tracks:
    """Return one track of each artist."""
    first = np.unique(tracks.groups, return_index=True)[1]
    return Tracks(*(values[first] for values in tracks))
