"""Growth of time and memory with the batch, the clip, the devices and the number of tracks.

The first three are the train step of BBNN from the waveform, in a process for every point; memory
is what XLA holds for the step on a device beside its arguments, and the resident set of the process
at its peak. The last is the bookkeeping on tracks without audio, two of each artist: folds without
an artist in two, the order of an epoch, metrics and an interval by artist; memory is
what Python and NumPy had allocated at the peak. An exponent of 1 is linear growth.
"""

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from experiments.benchmarks import contest, networks
from experiments.benchmarks.networks import OURS
from mgr_jax.evaluation.reports import markdown

LINEAR = 1.15  # Exponents up to here are called linear, since times have a spread.
_ENOUGH_SECONDS = 3.0  # After so long bookkeeping is not timed again.
POINTS = {
    "batch": (1, 2, 4, 8, 16),
    "seconds": (3, 10, 30, 60),
    "devices": (1, 2, 4),
    "tracks": (100, 1000, 10_000, 100_000),
}
QUICK = {"only": ("seconds", "tracks"), "turns": 1, "most": 2}
_LABELS = {
    "batch": "batch size, 30 s clips",
    "seconds": "clip length in s, batch 2",
    "devices": "CPU devices that share the cores, batch 8 x 10 s",
}


def run(*, only: Sequence[str] = (), turns: int = 3, most: int | None = None) -> list[dict]:
    """Return a row for every point of every quantity, or of those in `only`; at `most` so many.

    Raises:
      UserError: an unknown quantity.
    """
    rows = []
    for name in contest.choose(only, tuple(POINTS)):
        for point in POINTS[name][:most]:
            rows += _tracks(point) if name == "tracks" else [_step(name, point, turns=turns)]
    return rows


def exponents(rows: list[dict]) -> Iterator[tuple[str, list[dict], dict[str, float]]]:
    """Yield every work, its rows and the exponents of its time and memory by least squares."""
    for work in dict.fromkeys(row["work"] for row in rows):
        points = [row for row in rows if row["work"] == work]
        sizes = np.log([row["size"] for row in points])
        powers = {
            name: float(np.polyfit(sizes, np.log([row[name] for row in points]), 1)[0])
            for name in ("seconds", "memory_mb")
        }
        yield work, points, powers


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown, with the exponent of each growth."""
    shown = []
    for work, points, growth in exponents(rows):
        for row in points:
            rss = f"{row['rss_mb']:,.0f}" if "rss_mb" in row else ""
            numbers = f"{row['seconds']:.4g}", f"{row['spread']:.2g}", f"{row['memory_mb']:,.4g}"
            shown.append((work, f"{row['size']:,}", *numbers, rss))
        verdict = "linear or better" if max(growth.values()) <= LINEAR else "**more than linear**"
        numbers = f"{growth['seconds']:.2f}", "", f"{growth['memory_mb']:.2f}"
        shown.append((work, "exponent", *numbers, verdict))
    return markdown.table(("work", "size", "seconds", "spread", "memory, MB", "RSS, MB"), shown)


def plot(rows: list[dict], path: str) -> None:
    """Draw time and memory against size, with lines of linear growth, into a PNG file."""
    from matplotlib import ticker
    from matplotlib.figure import Figure

    groups = list(exponents(rows))
    kinds = list(dict.fromkeys(row["quantity"] for row in rows))
    figure = Figure(figsize=(3.6 * len(kinds), 6.4), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False)
    for kind, pair in zip(kinds, axes.T, strict=True):
        for axis, name, label in zip(
            pair, ("seconds", "memory_mb"), ("seconds", "memory, MB"), strict=True
        ):
            for work, points, growth in groups:
                if points[0]["quantity"] != kind:
                    continue
                sizes = np.array([row["size"] for row in points])
                values = np.array([row[name] for row in points])
                title = work.split(": ")[-1] if kind == "tracks" else "measured"
                line = axis.plot(sizes, values, "o-", label=f"{title}, {growth[name]:.2f}")[0]
                axis.plot(sizes, values[-1] * sizes / sizes[-1], ":", color=line.get_color(), lw=1)
            axis.set(xscale="log", yscale="log", ylabel=label, xlabel=_LABELS.get(kind, kind))
            axis.set_xticks(POINTS[kind], [f"{point:,}" for point in POINTS[kind]])
            axis.margins(y=0.15)
            # Fewer than two decades have too few powers of ten to read the values by.
            low, high = axis.get_ylim()
            digits = (1, 2, 5) if high < 100 * low else (1,)
            axis.yaxis.set_major_locator(ticker.LogLocator(subs=digits))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7, title="exponent; dotted: linear", title_fontsize=7)
    figure.savefig(path, dpi=110)


def _step(quantity: str, point: int, *, turns: int) -> dict:
    """Return the row of the BBNN train step at one point."""
    from experiments.configs import bbnn
    from mgr_jax import config as config_lib

    config = bbnn.get_config()
    sizes = {"batch": (point, 30, 1), "seconds": (2, point, 1), "devices": (8, 10, point)}
    batch_size, seconds, devices = sizes[quantity]
    config.data.clip_samples = 22_050 * seconds
    waveform, labels = networks.random_batch((config_lib.window_length(config),), batch_size)
    settings = {"mode": "train", "frontend": True, "devices": devices}
    with contest.Side(OURS, config, 0.1 * waveform, labels, **settings) as side:
        side.warm()
        times = [side.seconds() for _ in range(turns)]
        memory, resident = side.call("temporaries") / 1e6, side.peak_memory()
    row = _row(quantity, f"BBNN step: {_LABELS[quantity]}", point, times, memory)
    return row | {"rss_mb": resident}


def _tracks(number: int) -> list[dict]:
    """Return a row for each piece of bookkeeping on `number` tracks."""
    rows = []
    for name, work in _bookkeeping(number).items():
        times = [contest.seconds_of(work)]
        while len(times) < 3 and sum(times) < _ENOUGH_SECONDS:
            times.append(contest.seconds_of(work))
        tracemalloc.start()
        work()
        memory = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        rows.append(_row("tracks", f"tracks: {name}", number, times, memory))
    return rows


def _row(quantity: str, work: str, size: int, times: list[float], memory_mb: float) -> dict:
    return {
        "quantity": quantity,
        "work": work,
        "size": size,
        "seconds": float(np.median(times)),
        "spread": max(times) - min(times),
        "memory_mb": memory_mb,
    }


def _bookkeeping(number: int) -> dict[str, Callable[[], Any]]:
    from mgr_jax.data import splits
    from mgr_jax.data.catalog import Catalog, Track
    from mgr_jax.evaluation import intervals, metrics

    labels = tuple(f"genre{i}" for i in range(10))
    tracks = tuple(
        Track(f"{i:07d}", f"{i}.wav", labels[i % 10], f"artist{i % 10}.{i // 20}")
        for i in range(number)
    )
    catalog = Catalog("folder", tracks, labels)
    rng = np.random.default_rng(0)
    truth = np.arange(number) % 10
    scores = np.log(rng.dirichlet(np.ones(10), number))
    groups = [track.artist for track in tracks]

    def epoch() -> int:
        import grain

        order = grain.MapDataset.range(number).seed(0).shuffle().repeat()
        return sum(int(order[i] or 0) for i in range(number))

    def score() -> None:
        predicted = scores.argmax(1)
        metrics.per_class(metrics.confusion_matrix(truth, predicted, 10), labels)
        metrics.roc_auc(scores, truth)
        metrics.abstention_curve(np.exp(scores.max(1)), predicted == truth)
        metrics.brier_score(scores, truth)

    def interval() -> tuple[float, float] | None:
        return intervals.accuracy_interval(scores.argmax(1) == truth, groups)

    return {
        "folds by artist": lambda: splits.make_split(catalog, protocol="artist_kfold"),
        "order of an epoch": epoch,
        "metrics": score,
        "interval by artist": interval,
    }
