"""A comparison of systems as text for the terminal."""

from typing import Any

from mgr_jax.evaluation import stats
from mgr_jax.evaluation.compare import format_p
from mgr_jax.plural import plural


def to_text(result: dict[str, Any]) -> str:
    """Format a comparison for the terminal: the systems, and each pair with a verdict."""
    groups, by = result["num_groups"], result["grouped_by"]
    artists = f", {plural(groups, by)}" if groups < result["n"] else ""
    width = max(len(system["name"]) for system in result["systems"])
    lines = [f"{result['part']} part of {result['data']}: {plural(result['n'], 'track')}{artists}"]
    for system in result["systems"]:
        lines.append(f"  {system['name']:{width}}  {describe(system)}")
    for pair in result["pairs"]:
        lines += ["", f"{pair['second']} against {pair['first']}"]
        values = [*rows(pair), ("verdict", pair["verdict"])]
        width = max(12, *(2 + len(name) for name, _ in values))
        lines += [f"  {name:{width}}{value}" for name, value in values]
    return "\n".join([*lines, *(["", *result["notes"]] if result["notes"] else [])])


def describe(system: dict[str, Any]) -> str:
    """Return the accuracy of a system with its n, intervals and protocol."""
    return stats.describe(system, system["protocol"])


def rows(pair: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the results of a pair as names and values."""
    difference = f"{100 * pair['difference']:+.1f} points"
    holm = ", before Holm" if pair["p"] != pair["p_holm"] else ""
    if pair["ci95"]:
        low, high = (100 * end for end in pair["ci95"])
        difference += f" [{low:+.1f}, {high:+.1f}] (95 %, {_test(pair)} inverted and widened{holm})"
    else:
        by = pair["grouped_by"]
        few = pair["smallest_p"] >= 0.05
        reason = f"too few {by}s" if few else f"it is the same in all {by}s"
        difference += f" (no 95 % interval: {reason})"
    only = (
        f"{pair['only_second']} right by {pair['second']} only, {pair['only_first']} by"
        f" {pair['first']} only"
    )
    tests = f"p = {format_p(pair['mcnemar_exact'])} exact, {format_p(pair['mcnemar_mid_p'])} mid-p"
    results = [("difference", difference), ("tracks", only), ("McNemar", tests)]
    if pair["artist_p"] is not None:
        p = f"p = {format_p(pair['artist_p'])} (sign-flip test, exact)"
        results.append((f"by {pair['grouped_by']}", p))
    if pair["p"] != pair["p_holm"]:
        results.append(("Holm", f"p = {format_p(pair['p_holm'])}"))
    return results


def _test(pair: dict[str, Any]) -> str:
    by = pair["grouped_by"]
    return "McNemar's mid-p test" if by == "track" else f"sign-flip test by {by}"
