"""Intervals and tests for accuracies."""

import math


def wilson_interval(successes: int, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); `z` of 1.96 gives 95 %.

    Unlike p +- z * sd, it stays inside [0, 1] and covers as promised for small n.

    Raises:
      ValueError: if not 0 <= successes <= n with n >= 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes {successes} and n {n}: need 0 <= successes <= n and n >= 1")
    share, squared = successes / n, z * z
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = z / (1 + squared / n) * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def describe_accuracy(successes: int, n: int, protocol: str) -> str:
    """`78.3 % [66.4, 86.9] (n = 60, listed)`: no accuracy goes without these."""
    low, high = wilson_interval(successes, n)
    return f"{100 * successes / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}] (n = {n}, {protocol})"
