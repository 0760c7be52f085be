"""Counts with their noun in singular or plural, for printed lines."""

from __future__ import annotations


def count(n: int, noun: str) -> str:
    """A number and its noun.

    >>> count(1, "increment"), count(2_274, "row"), count(0, "refused line"), count(2, "refresh")
    ('1 increment', '2,274 rows', '0 refused lines', '2 refreshes')
    """
    ending = "" if n == 1 else "es" if noun.endswith(("s", "sh", "ch", "x")) else "s"
    return f"{n:,} {noun}{ending}"
