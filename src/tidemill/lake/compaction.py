"""Compaction: the choice of small files to merge, in tiers.

A table of daily increments should neither have a thousand files nor be rewritten every day. Tiers as in log-structured
merge trees (O'Neil et al., 1996): small files are merged once there are many, and a larger file is merged only with
smaller ones whose total is near its size, so that each row is rewritten about log(n) times.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

#: A file with fewer rows than `SMALL_ROWS` is small; more than `MANY` small files are merged.
SMALL_ROWS = 32_768
MANY = 24


def files_to_compact(files: Sequence[tuple[str, int]], most_rows: int | None = None) -> list[str]:
    """The paths to merge into one, of files given as (path, rows); in their given order, empty where nothing is due.

    `most_rows` bounds the rows that are merged at once, and so the memory.

    >>> files_to_compact([("big", 90_000)] + [(f"day {i}", 10) for i in range(24)])
    []
    >>> len(files_to_compact([("big", 90_000)] + [(f"day {i}", 10) for i in range(25)]))
    25
    """
    small = sorted((rows, path) for path, rows in files if rows < SMALL_ROWS)
    if len(small) <= MANY:
        return []
    totals = list(accumulate(rows for rows, _ in small))
    bound = next((n for n, total in enumerate(totals) if most_rows and total > most_rows), len(small))
    tier = next((n for n in range(1, len(small)) if small[n][0] > 2 * totals[n - 1]), len(small))
    if tier < 2:  # the second file has more than twice the rows of the first: merge the smallest anyway
        tier = MANY // 2
    chosen = {path for _, path in small[: max(2, min(tier, bound))]}
    return [path for path, _ in files if path in chosen]
