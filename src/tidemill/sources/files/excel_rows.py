"""Rows of a sheet of an Excel file (.xlsx, .xls), by python-calamine; a row's number in the sheet is its line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tidemill.core.errors import BackendMissing, SourceDamaged, SourceUnknown, nearest
from tidemill.core.library_errors import require_error
from tidemill.sources.files.csv_lines import column_names
from tidemill.sources.files.excel_size import refuse_large
from tidemill.sources.files.mapping import ColumnMapping
from tidemill.sources.files.type_conversion import LINE


class ExcelSheet(NamedTuple):
    """A sheet of a workbook, in memory."""

    #: The sheets of the workbook.
    sheets: tuple[str, ...]
    #: The names of its columns, from its first row that is not empty.
    names: list[str]
    #: Number in the sheet and cells of each further row that is not empty; an empty cell is `None`.
    rows: list[tuple[int, list[Any]]]

    def raw(self, mapping: ColumnMapping) -> Iterator[tuple[pl.DataFrame, int]]:
        """The raw columns with the contract's names and `_line`, and the number of rows."""
        places = {name: place for place, name in enumerate(self.names)}
        columns = [
            cell_column([row[places[mapped.at[0]]] for _, row in self.rows]).alias(mapped.column.name)
            for mapped in mapping.columns
            if isinstance(mapped.at, tuple)
        ]
        lines = pl.Series(LINE, [line for line, _ in self.rows], dtype=pl.Int64)
        yield pl.DataFrame([*columns, lines]), len(self.rows)

    def table(self) -> pl.DataFrame:
        """All columns: numbers, times and flags as such; columns of mixed cells as text."""
        cells = {name: [row[place] for _, row in self.rows] for place, name in enumerate(self.names)}
        return pl.DataFrame({name: cell_column(column) for name, column in cells.items()})


def cell_column(cells: list[Any]) -> pl.Series:
    """The cells of a column in one type: whole numbers, numbers, flags, times, or text for everything else.

    >>> cell_column([1.0, None, 3.0]).to_list(), cell_column([1.5, "NA"]).to_list()
    ([1, None, 3], ['1.5', 'NA'])
    """
    found = {type(cell) for cell in cells if cell is not None}
    if found and found <= {int, float}:
        whole = all(cell is None or float(cell).is_integer() for cell in cells)
        return pl.Series([None if cell is None else (int(cell) if whole else float(cell)) for cell in cells])
    if found == {bool}:
        return pl.Series(cells, dtype=pl.Boolean)
    if found and found <= {date, datetime}:
        times = [datetime(*cell.timetuple()[:6]) if type(cell) is date else cell for cell in cells]
        return pl.Series(times, dtype=pl.Datetime("us"))
    return pl.Series([None if cell is None else _text(cell) for cell in cells], dtype=pl.String)


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, date | datetime | clock):
        return cell.isoformat()
    return str(cell).strip() if not isinstance(cell, timedelta) else str(cell.total_seconds())


def read_sheet(path: Path, sheet: str | None) -> ExcelSheet:
    """A sheet of the file, by default the first.

    Raises `SourceUnknown` for a sheet that is not there, that is empty, or that is larger than `MOST_BYTES` or
    `MOST_CELLS`; `SourceDamaged`, and `BackendMissing`.
    """
    refuse_large(path)
    book = _opened(path)
    known = book.sheet_names
    name = sheet if sheet is not None else next(iter(known), "")
    if name not in known:
        raise SourceUnknown(f"{path} has no sheet {name!r}", tip=nearest(name, known))
    try:
        cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except BaseException as error:  # calamine's errors have no common class, and it may panic
        require_error(error)
        raise _damaged(path, error) from None
    rows = [(line, [None if cell == "" else cell for cell in row]) for line, row in enumerate(cells, 1)]
    rows = [(line, row) for line, row in rows if any(cell is not None for cell in row)]
    if len(rows) < 2:
        raise SourceUnknown(f"the sheet {name!r} of {path} has no rows below a header", tip="set `sheet=`")
    names = column_names(["" if cell is None else _text(cell) for cell in rows[0][1]])
    return ExcelSheet(tuple(known), names, rows[1:])


def _opened(path: Path) -> Any:
    try:
        from python_calamine import CalamineWorkbook  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as missing:
        raise BackendMissing("an Excel file needs python-calamine", tip="pip install 'tidemill[excel]'") from missing
    try:
        return CalamineWorkbook.from_path(str(path))
    except BaseException as error:  # calamine's errors have no common class, and it may panic
        require_error(error)
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> SourceDamaged:
    return SourceDamaged(
        f"the Excel file {path} is truncated or damaged ({type(error).__name__}); no rows of it were ingested",
        tip="save it again, or save it as CSV",
    )
