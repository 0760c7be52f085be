"""Small files are merged where there are many: few files, and few rows written twice."""

from __future__ import annotations

import math

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop_lake import PASS, Shop, increment

from tidemill.lake.compaction import MANY, SMALL_ROWS, files_to_compact


def after_days(sizes: list[int], merge=files_to_compact) -> tuple[list[int], int, int]:
    """The files after these daily files came one by one, the most there ever were, and the rows written by merging."""
    files: dict[str, int] = {"base": 90_000}
    most = written = 0
    for day, rows in enumerate(sizes):
        files[f"day {day}"] = rows
        chosen = merge(list(files.items()))
        if chosen:
            merged = sum(files.pop(path) for path in chosen)
            files[f"merged {day}"] = merged
            written += merged
        most = max(most, len(files))
    return list(files.values()), most, written


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 300), min_size=1, max_size=400))
def test_files_stay_few_and_rows_are_rewritten_a_logarithm_of_times(sizes: list[int]) -> None:
    files, most, written = after_days(sizes)
    assert sum(files) == 90_000 + sum(sizes)
    assert most <= MANY + 2
    assert written <= sum(sizes) * (2 + math.log2(len(sizes) + 1))


def test_the_law_catches_merging_everything_small_every_time() -> None:
    def wrong(files: list[tuple[str, int]]) -> list[str]:
        small = [path for path, rows in files if rows < SMALL_ROWS]
        return small if len(small) > 1 else []

    _, _, written = after_days([10] * 400, wrong)
    assert written > 4_000 * (2 + math.log2(401))


def test_large_files_are_left_alone() -> None:
    assert files_to_compact([(f"large {i}", SMALL_ROWS) for i in range(100)]) == []


def test_files_of_very_different_sizes_are_merged_all_the_same() -> None:
    assert len(files_to_compact([(f"file {i}", 3**i) for i in range(MANY + 1) if 3**i < SMALL_ROWS] * 3)) >= 2


def test_a_table_of_many_days_has_few_files_and_all_its_rows(shop: Shop) -> None:
    for number in range(1, MANY + 8):
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            draft.append("events", pa.table({"n": [number]}))
            draft.publish(increment(number), PASS)
            shop.lake.record("log", pa.table({"n": [number]}), number, {}, lease)
    view = shop.lake.view()
    assert len(view.paths("events")) <= MANY
    for table in ("events", "log"):  # a day's file that was merged on the same day is in no version
        named = {path for commit in shop.tables.history(table) for path in commit.added}
        assert named == {path.name for path in (shop.root / "lake" / table).glob("*.parquet*")}
    assert sorted(view.arrow("events")["n"].to_pylist()) == list(range(1, MANY + 8))
    assert shop.lake.view(publication=5).arrow("events").num_rows == 5
    assert shop.lake.verify() == []
