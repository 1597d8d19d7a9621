"""Deletion curves: does the answer go where the explanation says that it came from?

Cells are removed from the waveform, the most attributed first, while the probability of the label
is recorded (Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
learned"; Petsiuk, Das and Saenko 2018, "RISE"). An explanation that can be trusted loses it sooner
than cells in random order do.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mgr_jax.explain import cells
from mgr_jax.explain.cells import Cells

_ALPHA = 0.05
FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


class Curves(NamedTuple):
    """Probability of the label at each of `FRACTIONS` of the cells removed.

    Attributes:
      attributed: [S], the most attributed cells first.
      random: [S], the mean over random orders.
    """

    attributed: np.ndarray
    random: np.ndarray

    @property
    def area(self) -> float:
        """Mean of the random curve minus that of the other, over the fractions; 0 if useless."""
        width = FRACTIONS[-1] - FRACTIONS[0]
        return float(np.trapezoid(self.random - self.attributed, FRACTIONS) / width)


class Trust(NamedTuple):
    """The areas of N excerpts, or means of N artists.

    Attributes:
      mean: mean area. ci95: its 95 % interval (Student's t).
      p: two-sided p value of Wilcoxon's signed-rank test of the areas against 0.
      n: N. num_positive: excerpts whose area is above 0.
    """

    mean: float
    ci95: tuple[float, float]
    p: float
    n: int
    num_positive: int


def deletion_curves(
    probability: Callable[[np.ndarray], np.ndarray],
    waveform: np.ndarray,
    attributions: Cells,
    *,
    sample_rate: float,
    num_random: int = 2,
    seed: int = 0,
) -> Curves:
    """Return the curves of one excerpt.

    Args:
      probability: waveforms [V, T] -> probability [V] of the explained label.
      waveform: [T].
      attributions: values of the cells that are removed.
      sample_rate: Hz.
      num_random: random orders. seed: of these.
    """
    values = attributions.values
    random = np.random.default_rng(seed)
    orders = [np.argsort(-values, axis=None, kind="stable")]
    orders += [random.permutation(values.size) for _ in range(num_random)]
    masks = np.zeros((len(orders), len(FRACTIONS) - 1, values.size), bool)
    for order, own in zip(orders, masks, strict=True):
        for fraction, mask in zip(FRACTIONS[1:], own, strict=True):
            mask[order[: round(fraction * values.size)]] = True
    variants = cells.remove(
        waveform,
        masks.reshape(-1, *values.shape),
        attributions.seconds,
        attributions.hz,
        sample_rate,
    )
    first, *rest = np.asarray(probability(np.stack([waveform, *variants])), np.float64)
    curves = np.insert(np.reshape(rest, masks.shape[:2]), 0, first, axis=1)
    return Curves(curves[0], curves[1:].mean(axis=0))


def trust(areas: np.ndarray, artists: Sequence[str] | None = None) -> Trust:
    """Return the test of the areas [M] of `Curves`, paired by excerpt.

    Args:
      areas: [M].
      artists: of the excerpts [M]; those of one resemble each other, so that their mean counts as
        one excerpt. None if no artist has two.

    Raises:
      ValueError: if there are fewer than two.
    """
    areas = np.asarray(areas, np.float64)
    if artists is not None:
        index = np.unique(np.asarray(artists), return_inverse=True)[1]
        areas = np.bincount(index, areas) / np.bincount(index)
    if len(areas) < 2:
        raise ValueError(f"areas has {len(areas)}; give two or more")
    half = float(stats.t.ppf(0.975, len(areas) - 1) * stats.sem(areas))
    mean = float(areas.mean())
    test: Any = stats.wilcoxon(areas) if areas.any() else None
    p = 1.0 if test is None else float(test.pvalue)
    return Trust(mean, (mean - half, mean + half), p, len(areas), int((areas > 0).sum()))


def verdict(trust: Trust) -> str:
    """Return in words whether the explanations can be trusted."""
    if trust.p >= _ALPHA:
        return "not shown to be better than cells at random: do not rely on these explanations"
    if trust.mean < 0:
        return "worse than cells at random: do not rely on these explanations"
    return "the explanations point at what the system uses, better than cells at random"
