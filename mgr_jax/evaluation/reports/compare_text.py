"""A comparison of systems as text for the terminal."""

from typing import Any

from mgr_jax.evaluation import stats
from mgr_jax.evaluation.compare import format_p


def to_text(result: dict[str, Any]) -> str:
    """Format a comparison for the terminal: the systems, and each pair with a verdict."""
    groups = result["num_groups"]
    artists = f", {groups} artists (or recordings)" if groups < result["n"] else ""
    width = max(len(system["name"]) for system in result["systems"])
    lines = [f"{result['part']} part of {result['data']}: {result['n']} tracks{artists}"]
    for system in result["systems"]:
        lines.append(f"  {system['name']:{width}}  {describe(system)}")
    for pair in result["pairs"]:
        lines += ["", f"{pair['second']} against {pair['first']}"]
        lines += [f"  {name:12}{value}" for name, value in rows(pair)]
        lines.append(f"  {'verdict':12}{pair['verdict']}")
    return "\n".join([*lines, *(["", *result["notes"]] if result["notes"] else [])])


def describe(system: dict[str, Any]) -> str:
    """Return the accuracy of a system with its n, interval and protocol."""
    return stats.describe_accuracy(system["num_correct"], system["n"], system["protocol"])


def rows(pair: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the results of a pair as names and values."""
    difference = f"{100 * pair['difference']:+.1f} points"
    if pair["ci95"]:
        low, high = (100 * end for end in pair["ci95"])
        difference += f" [{low:+.1f}, {high:+.1f}] (paired bootstrap{_by_artist(pair)})"
    only = (
        f"{pair['only_second']} right by {pair['second']} only, {pair['only_first']} by"
        f" {pair['first']} only"
    )
    tests = f"p = {format_p(pair['mcnemar_exact'])} exact, {format_p(pair['mcnemar_mid_p'])} mid-p"
    results = [("difference", difference), ("tracks", only), ("McNemar", tests)]
    if pair["artist_p"] is not None:
        results.append(("by artist", f"p = {format_p(pair['artist_p'])} (sign-flip test, exact)"))
    if pair["p"] != pair["p_holm"]:
        results.append(("Holm", f"p = {format_p(pair['p_holm'])}"))
    return results


def _by_artist(pair: dict[str, Any]) -> str:
    return "" if pair["artist_p"] is None else " by artist"
