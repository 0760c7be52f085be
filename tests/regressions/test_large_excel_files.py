"""Excel files whose rows did not fit into memory once unpacked, and that were parsed twice."""

from __future__ import annotations

import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.contract.contract import Event, event_time
from tidemill.core.errors import SourceDamaged, SourceUnknown
from tidemill.core.source_read import ReadRequest
from tidemill.sources import FileSource
from tidemill.sources.files import excel_rows, excel_size
from tidemill.sources.files.excel_rows import read_sheet
from tidemill.sources.files.table_file import read_table

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")


def workbook(path: Path, *cells: tuple[int, int, Any]) -> Path:
    book = openpyxl.Workbook()
    for row, column, value in ((1, 1, "a"), (1, 2, "b"), (2, 1, 1.5), (2, 2, 2), *cells):
        book.active.cell(row, column, value)
    book.save(path)
    return path


def with_member(path: Path, name: str, content: bytes) -> Path:
    """The file with one member replaced, or added."""
    with zipfile.ZipFile(path) as old:
        kept = {one.filename: old.read(one) for one in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for one, data in (kept | {name: content}).items():
            new.writestr(one, data)
    return path


def test_a_zip_bomb_is_a_clear_error_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_size, "MOST_BYTES", 1 << 24)
    bomb = with_member(workbook(tmp_path / "bomb.xlsx"), "xl/sharedStrings.xml", b" " * (1 << 25))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(SourceUnknown, match=r"bomb\.xlsx has more than 16,777,216 bytes decompressed"):
        read_table(bomb)


def test_sizes_in_the_headers_of_the_archive_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_size, "MOST_BYTES", 1 << 24)
    bomb = with_member(workbook(tmp_path / "bomb.xlsx"), "xl/sharedStrings.xml", b" " * (1 << 25))
    bomb.write_bytes(bomb.read_bytes().replace((1 << 25).to_bytes(4, "little"), (99).to_bytes(4, "little")))
    with zipfile.ZipFile(bomb) as archive:
        assert archive.getinfo("xl/sharedStrings.xml").file_size == 99
    with pytest.raises(SourceUnknown, match="decompressed"):
        read_sheet(bomb, None)


def test_two_cells_at_opposite_ends_of_a_sheet_are_a_clear_error(tmp_path: Path) -> None:
    file = workbook(tmp_path / "wide.xlsx", (1_048_576, 16_384, "x"))
    with pytest.raises(SourceUnknown, match=r"a sheet of .* has 1,048,576 rows and 16,384 columns"):
        read_table(file)


def test_cells_without_a_position_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_size, "MOST_CELLS", 1_000)
    row = b"<c><v>1</v></c>" * 40
    sheet = (
        b'<worksheet><sheetData><row r="1">' + row + b'</row><row r="900">' + row + b"</row></sheetData></worksheet>"
    )
    with pytest.raises(SourceUnknown, match="has 900 rows and 40 columns"):
        read_sheet(with_member(workbook(tmp_path / "bare.xlsx"), "xl/worksheets/sheet1.xml", sheet), None)


def test_formats_of_empty_cells_and_rows_do_not_count(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(workbook(tmp_path / "styled.xlsx"))
    book.active.cell(1_048_576, 16_384).font = openpyxl.styles.Font(bold=True)
    book.save(tmp_path / "styled.xlsx")
    assert read_table(tmp_path / "styled.xlsx").to_pydict() == {"a": [1.5], "b": [2]}


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    file = workbook(tmp_path / "cut.xlsx")
    raw = file.read_bytes()
    file.write_bytes(raw[:60] + bytes(200) + raw[260:])
    with pytest.raises(SourceDamaged, match="truncated or damaged"):
        read_sheet(file, None)


class Measurement(Event):
    a: float
    b: int
    at: datetime = event_time(zone="UTC")


def test_a_source_parses_its_excel_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    real = excel_rows._opened
    monkeypatch.setattr(excel_rows, "_opened", lambda path: opened.append(path) or real(path))
    workbook(tmp_path / "rows.xlsx", (1, 3, "at"), (2, 3, datetime(2026, 3, 1)))
    request = ReadRequest(until=date(2026, 3, 2), zone="UTC")
    read = FileSource("file:rows.xlsx", Measurement.contract, tmp_path).read(request)
    assert read.good.num_rows == 1 and len(opened) == 1
    assert len(read_table(tmp_path / "rows.xlsx")) == 1 and len(opened) == 2
