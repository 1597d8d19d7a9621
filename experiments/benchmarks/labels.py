"""The search for wrong labels (`mgr_jax.evaluation.label_errors`) where they are known.

Band: labels of the embedded band are flipped at random to another genre, and looked for by logistic
regression on MFCCs in folds. Simulated: how often the interval of the share of wrong labels covers
the truth, for logistic regression in folds on 20 values of each track. These are those of its
class, its artist and its own, Gaussian or with the tails of Student's t with 3 degrees.
"""

from collections.abc import Sequence

import numpy as np

from mgr_jax import named_configs
from mgr_jax.classical import out_of_fold
from mgr_jax.evaluation import label_errors

QUICK = {"num_draws": 2, "num_seeds": 1}
_RATES = (0.0, 0.05, 0.1, 0.2)
_ARTISTS = (20, 60)
_NUM_CLASSES = 10
# Of the simulated tracks: values, and deviation of the centers of the classes in each.
_NUM_FEATURES, _DISTANCE = 20, 0.6


def run(*, num_draws: int = 20, num_seeds: int = 5) -> list[dict]:
    """Return a row for each share of flipped labels of the band, and each simulated case."""
    return [*measure_band(num_seeds=num_seeds), *simulate(num_draws=num_draws)]


def measure_band(*, num_seeds: int, rates: Sequence[float] = _RATES) -> list[dict]:
    """Return how many of the flipped labels of the band are on top, for each share and seed."""
    data = out_of_fold.open_data(named_configs.get("logistic"))
    rows = []
    for rate in rates:
        for seed in range(num_seeds):
            rng, n = np.random.default_rng(seed), len(data.labels)
            wrong = rng.permutation(n)[: round(rate * n)]
            given = data.labels.copy()
            given[wrong] += rng.integers(1, _NUM_CLASSES, len(wrong))
            given %= _NUM_CLASSES
            scored = out_of_fold.score(data.with_labels(given), seed=100 * seed)
            result = label_errors.find(
                scored.ids, scored.names, given, scored.log_probabilities, scored.groups
            )
            flipped = {scored.ids[i] for i in wrong}
            order = [row["track"] for row in result["rows"]]
            likely = [row["track"] for row in result["rows"] if row["doubt"] >= 0.5]
            low, high = result["share_ci95"]
            rows.append(
                {
                    "kind": "band",
                    "rate": rate,
                    "seed": seed,
                    "n": n,
                    "on_top": len(flipped & set(order[: len(wrong)])),
                    "flipped": len(wrong),
                    "likely": len(likely),
                    "likely_right": len(flipped & set(likely)),
                    "share": result["share"],
                    "covered": low <= rate <= high,
                    "confident_share": result["confident_share"],
                }
            )
    return rows


def simulate(*, num_draws: int) -> list[dict]:
    """Return how often the interval covers the share of wrong labels."""
    rows = []
    for tails in (False, True):
        for number in _ARTISTS:
            for rate in _RATES:
                rng = np.random.default_rng([number, int(100 * rate), tails])
                draws = [_draw(rng, number, rate, tails=tails) for _ in range(num_draws)]
                rows.append(
                    {
                        "kind": "simulated",
                        "rate": rate,
                        "artists": number,
                        "tails": tails,
                        "covered": float(np.mean([low <= t <= high for _, low, high, t in draws])),
                        "share": float(np.mean([share for share, *_ in draws])),
                        "draws": num_draws,
                    }
                )
    return rows


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown tables."""
    lines = [
        "| labels of the band flipped | flipped of as many tracks on top, by seed | likelier wrong"
        " than right: tracks (flipped) | estimated share | interval covers |"
        " confident learning's share |",
        f"|{' --- |' * 6}",
    ]
    band = [row for row in rows if row["kind"] == "band"]
    for rate in dict.fromkeys(row["rate"] for row in band):
        own = [row for row in band if row["rate"] == rate]
        top = ", ".join(f"{row['on_top']}" for row in own) + f" of {own[0]['flipped']}"
        cells = [
            f"{100 * rate:g} % of {own[0]['n']}",
            top if rate else "",
            ", ".join(f"{row['likely']} ({row['likely_right']})" for row in own),
            ", ".join(f"{100 * row['share']:.1f}" for row in own) + " %",
            f"{sum(row['covered'] for row in own)} of {len(own)}",
            ", ".join(f"{100 * row['confident_share']:.1f}" for row in own) + " %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| simulated, share of wrong labels | artists of 1 to 5 tracks | mean estimate, coverage |"
        " the same with heavy tails |",
        f"|{' --- |' * 4}",
    ]
    simulated = [row for row in rows if row["kind"] == "simulated"]
    for row in simulated[: len(simulated) // 2]:
        twin = next(
            r
            for r in simulated
            if r["tails"] and (r["rate"], r["artists"]) == (row["rate"], row["artists"])
        )
        both = [f"{100 * r['share']:.1f} %, {r['covered']:.2f}" for r in (row, twin)]
        lines.append(f"| {100 * row['rate']:g} % | {row['artists']} | {both[0]} | {both[1]} |")
    return lines


def _draw(
    rng: np.random.Generator, number: int, rate: float, *, tails: bool
) -> tuple[float, float, float, float]:
    """Return estimate, ends of the interval and the true share of one data set."""
    groups = np.repeat(np.arange(number), np.arange(number) % 5 + 1)
    n, truth = len(groups), groups % _NUM_CLASSES
    shapes = (number, _NUM_FEATURES), (n, _NUM_FEATURES)
    noise = [rng.standard_t(3, s) / np.sqrt(3) if tails else rng.normal(size=s) for s in shapes]
    centers = rng.normal(size=(_NUM_CLASSES, _NUM_FEATURES)) * _DISTANCE
    x = centers[truth] + np.sqrt(0.3) * noise[0][groups] + np.sqrt(0.7) * noise[1]
    wrong = rng.permutation(n)[: round(rate * n)]
    given = truth.copy()
    given[wrong] += rng.integers(1, _NUM_CLASSES, len(wrong))
    given %= _NUM_CLASSES
    folds = groups // _NUM_CLASSES % 5
    l2 = named_configs.get("logistic").model.l2
    log_p = out_of_fold.log_probabilities(
        x.astype(np.float32), given, folds, num_classes=_NUM_CLASSES, l2=l2
    )
    result = label_errors.fit_noise(log_p, given, groups)
    assert result.interval is not None
    return (result.share, *result.interval, len(wrong) / n)
