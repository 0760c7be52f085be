"""The profile of a table: whole or from a sample; exact figures from file statistics; nothing of one person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tidemill.backends.delta.data_file import has_range
from tidemill.core.ports import StagedFile
from tidemill.core.records.ingest import FileEntry
from tidemill.features import table_profile as profiles
from tidemill.features.table_profile import PreviewCell, table_profile

START = datetime(2020, 1, 1, tzinfo=UTC)


class FilesInMemory:
    """A snapshot of one table whose files are given; counts what is read."""

    publication, versions = 3, {"t": 2}

    def __init__(self, *files: pa.Table) -> None:
        self.tables = files
        self.values_read = 0

    def schema(self, table: str) -> pa.Schema:
        return self.tables[0].schema

    def data_files(self, table: str) -> tuple[StagedFile, ...]:
        return tuple(_staged(place, rows) for place, rows in enumerate(self.tables))

    def file_rows(self, table: str, file: StagedFile, columns: Sequence[str]) -> pa.Table:
        found = self.tables[int(file.entry.path)].select(columns)
        self.values_read += found.num_rows * found.num_columns
        return found


def _staged(place: int, rows: pa.Table) -> StagedFile:
    numeric = [field.name for field in rows.schema if has_range(field.type) and not pa.types.is_date(field.type)]
    plain = {name: rows[name].cast(pa.int64()) if pa.types.is_timestamp(rows[name].type) else rows[name]
             for name in numeric}  # fmt: skip
    limits = {name: pc.min_max(values).as_py() for name, values in plain.items()}
    return StagedFile(
        entry=FileEntry(path=str(place), rows=rows.num_rows, size_bytes=10),
        ranges={name: (one["min"], one["max"]) for name, one in limits.items() if one["min"] is not None},
        nulls={name: rows[name].null_count for name in numeric},
    )


def _events(n: int, increment: int = 1) -> pa.Table:
    chance = np.random.default_rng(increment)
    return pa.table(
        {
            "user_id": [f"u{k % 50}" for k in range(n)],
            "stars": chance.integers(1, 6, n).astype(float),
            "city": np.where(np.arange(n) == 0, "Atlantis", "Bern").tolist(),
            "at": pa.array([START + timedelta(minutes=k) for k in range(n)], pa.timestamp("us", "UTC")),
            "_increment": pa.array([increment] * n, pa.int64()),
            "_row": pa.array(range(n), pa.int64()),
        }
    )


def _profile(*files: pa.Table, **more: Any) -> profiles.TableProfile:
    return table_profile(FilesInMemory(*files), "t", **({"personal": ()} | more))  # type: ignore[arg-type]


def test_a_small_table_is_read_whole() -> None:
    found = _profile(_events(100), _events(40, 2))
    columns = {one.name: one for one in found.columns}
    assert (found.size.rows, found.read_rows, found.is_sample, found.size.names) == (140, 140, False, tuple(columns))
    assert (columns["stars"].min, columns["stars"].max, columns["stars"].distinct) == (1.0, 5.0, 5)
    assert columns["at"].is_time and columns["at"].distribution is not None
    assert columns["at"].quartiles is not None and columns["at"].quartiles[0] > START.timestamp() * 1e6
    assert sum(one.n or 0 for one in columns["at"].distribution.stretches) >= 80  # others: in small bins


def test_a_sample_keeps_missing_values_minimum_and_maximum_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "SAMPLED_ROWS", 200)
    monkeypatch.setattr(profiles, "SAMPLED_FILES", 4)
    rare = _events(1000)
    rare = rare.set_column(1, "stars", pa.array([99.0, None, *rare["stars"].to_pylist()[2:]]))
    found = _profile(*(_events(1000, place) for place in range(2, 40)), rare)
    stars, city = found.columns[1], found.columns[2]
    assert (found.size.rows, found.read_rows, found.read_files, found.is_sample) == (39_000, 200, 4, True)
    assert (stars.max, stars.missing, stars.exact) == (99.0, pytest.approx(1 / 39_000), True)
    assert (city.exact, city.distinct) == (False, 1)


def test_a_sample_is_of_all_parts_of_a_table() -> None:
    files = [_events(30_000, place) for place in range(1, 13)]
    view = FilesInMemory(*files)
    wide = view.tables[0].num_columns
    found = table_profile(view, "t", personal=())  # type: ignore[arg-type]
    assert (found.read_files, found.is_sample) == (12, True)
    assert abs(found.read_rows - 100_000) < 100
    assert view.values_read <= profiles.READ_VALUES + 30_000 * wide
    middle = found.columns[3].quartiles
    assert middle is not None and middle[1] == pytest.approx(START.timestamp() * 1e6 + 15_000 * 60e6, rel=1e-3)


def test_the_preview_is_the_newest_rows_without_reading_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "SAMPLED_ROWS", 10)
    monkeypatch.setattr(profiles, "SAMPLED_FILES", 1)
    view = FilesInMemory(_events(50, 9), _events(500, 1), _events(500, 2))
    found = table_profile(view, "t", personal=(), columns=["at"], preview=3)  # type: ignore[arg-type]
    assert [row[0].text for row in found.preview] == [
        "2020-01-01 00:49:00",
        "2020-01-01 00:48:00",
        "2020-01-01 00:47:00",
    ]
    assert view.values_read == (500 + 50) * 3  # one file of the sample, and the newest one


def test_of_people_only_values_that_ten_rows_share_are_shown() -> None:
    rows = _events(60).append_column("note", pa.array([f"my secret {k}" for k in range(60)]))
    found = _profile(rows, personal=["user_id"], preview=60)
    columns = {one.name: one for one in found.columns}
    cells = [dict(zip(columns, row, strict=True)) for row in found.preview]
    assert {one["user_id"].state for one in cells} == {one["note"].state for one in cells} == {"hidden"}
    assert cells[-1]["city"] == PreviewCell(state="hidden")  # one row alone has it
    assert cells[0]["city"] == PreviewCell(text="Bern")
    assert {one["at"].text for one in cells} == {"2020-01-01"}  # the day alone
    assert cells[0]["stars"].state == "value"
    assert (columns["stars"].min, columns["at"].max, columns["user_id"].distinct) == (None, None, None)
    assert columns["note"].distribution is None


def test_of_people_the_ten_smallest_and_largest_numbers_and_rare_days_are_hidden() -> None:
    rows = _events(60).set_column(1, "stars", pa.array([float(k) for k in range(60)]))
    days = pa.array([START + timedelta(days=k // 59) for k in range(60)], pa.timestamp("us", "UTC"))
    found = _profile(rows.set_column(3, "at", days), personal=["user_id"], preview=60)
    assert [row[1].state for row in found.preview].count("hidden") == 18  # nine at each end
    assert [row[3].state for row in found.preview].count("hidden") == 1


def test_columns_of_unknown_declaration_show_nothing() -> None:
    found = _profile(_events(60), personal=None)
    assert {cell.state for row in found.preview for cell in row} == {"hidden"}
    assert all(one.distinct is None and one.distribution is None for one in found.columns)


def test_tables_without_rows_and_of_any_type() -> None:
    empty = _profile(_events(0))
    assert (empty.size.rows, empty.preview, empty.columns[1].distinct) == (0, (), 0)
    rows = pa.table({
        "many": pa.array([[1], None, [2, 3]], pa.list_(pa.int64())), "nan": [float("nan")] * 3,
        "flag": [True, None, True], "long": ["x" * 500, "", "a\nb"], "none": pa.nulls(3),
        "day": pa.array([1, 2, None], pa.date32()),
    })  # fmt: skip
    found = _profile(rows)
    assert [cell.text for cell in found.preview[0]][1:3] == ["nan", "True"]
    assert len(found.preview[0][3].text) == profiles.PREVIEW_TEXT + 1
    assert [cell.text for cell in found.preview[0]][5] == "1970-01-02"
    assert found.preview[1][0].state == "missing"
