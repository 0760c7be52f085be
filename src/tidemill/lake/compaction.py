"""Compaction: the choice of small files to merge, in tiers.

A table of daily increments should neither have a thousand files nor be rewritten every day. Tiers as in log-structured
merge trees (O'Neil et al., 1996): small files are merged once there are many, and a larger file is merged only with
smaller ones whose total is near its size, so that each row is rewritten about log(n) times.
"""

from __future__ import annotations

from collections.abc import Sequence

#: A file with fewer rows than `SMALL_ROWS` is small; more than `MANY` small files are merged.
SMALL_ROWS = 32_768
MANY = 24


def files_to_compact(files: Sequence[tuple[str, int]]) -> list[str]:
    """The paths to merge into one, of files given as (path, rows); in their given order, empty where nothing is due.

    >>> files_to_compact([("big", 90_000)] + [(f"day {i}", 10) for i in range(24)])
    []
    >>> len(files_to_compact([("big", 90_000)] + [(f"day {i}", 10) for i in range(25)]))
    25
    """
    small = sorted((rows, path) for path, rows in files if rows < SMALL_ROWS)
    if len(small) <= MANY:
        return []
    chosen: set[str] = set()
    total = 0
    for rows, path in small:
        if chosen and rows > 2 * total:
            break
        chosen.add(path)
        total += rows
    if len(chosen) < 2:  # the second file has more than twice the rows of the first: merge the smallest anyway
        chosen = {path for _, path in small[: MANY // 2]}
    return [path for path, _ in files if path in chosen]
