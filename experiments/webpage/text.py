"""Text and times as HTML."""

import html

from mgr_jax.escape import printable


def escape(text: object) -> str:
    """Return `text` as HTML without markup or control characters, also for a template engine."""
    safe = html.escape(printable(str(text)))
    return safe.replace("{", "&#123;").replace("$", "&#36;").replace("@", "&#64;")


def clock(seconds: float, total: float) -> str:
    """Format a time within `total` seconds; short songs need tenths."""
    if total < 10:
        return f"{seconds:.1f} s"
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
