"""Counts in words."""


def plural(count: int, noun: str) -> str:
    """Return `1 artist`, `0 artists`, `12 artists` for a noun with a regular plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
