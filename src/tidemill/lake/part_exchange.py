"""Exchange of rows in parts: what a table gains and loses, found and written where the rows are.

The rows of a table and those that replace them are split by a hash of their columns, and each part is compared on its
own, by the engine's workers. Only the entries of files and counts come back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tidemill.core.ports import FileStager, StagedFile
from tidemill.lake.row_equality import conform_schema, matching_rows

#: Column with the name of a row's file.
ORIGIN = "_origin"
#: At most so many rows are exchanged in memory, and more in parts of about `PART_ROWS`.
MEMORY_ROWS = 524_288
PART_ROWS = 262_144


class PartChange(msgspec.Struct, frozen=True):
    """The change of one part."""

    #: Files with the added rows.
    added: list[StagedFile] = []
    #: Files with the removed rows and their `ORIGIN`, which are read before the commit and belong to no version.
    removed: list[StagedFile] = []
    #: File -> number of its rows that are removed.
    gone: dict[str, int] = {}
    #: What became of arrived rows: name of a count -> rows.
    counts: dict[str, int] = {}


@dataclass(frozen=True)
class PartWriter:
    """What writes the rows of a part has, and is pickled with."""

    table: str
    schema: pa.Schema
    stager: FileStager


class ExchangeRows(PartWriter):
    """Replaces the rows of a part, `old`, by `new`. Equal rows stay."""

    def __call__(self, old: pa.Table, new: pa.Table) -> bytes:
        old, new = with_file_names(old, self.schema, self.table), conform_schema(new, self.schema, self.table)
        stays, known = matching_rows(old, new, self.schema.names)
        removed = old.filter(pa.array(~stays))
        change = PartChange(
            self.stager.stage(new.filter(pa.array(~known))),
            self.stager.stage(removed),
            rows_by_file(removed),
        )
        return msgspec.json.encode(change)


class RewriteFiles(PartWriter):
    """Writes the rows of files again, without removed ones."""

    def __call__(self, rows: pa.Table, removed: pa.Table) -> bytes:
        rows = with_file_names(rows, self.schema, self.table)
        removed = with_file_names(removed, self.schema, self.table)
        goes, _ = matching_rows(rows, removed, rows.column_names)
        rest = rows.filter(pa.array(~goes)).drop_columns([ORIGIN])
        return msgspec.json.encode(PartChange(self.stager.stage(rest)))


def merge_changes(parts: Sequence[bytes]) -> PartChange:
    """The changes of all parts together."""
    found = [msgspec.json.decode(part, type=PartChange) for part in parts]
    gone, counts = Counter[str](), Counter[str]()
    for part in found:
        gone.update(part.gone)
        counts.update(part.counts)
    return PartChange(
        [file for part in found for file in part.added],
        [file for part in found for file in part.removed],
        dict(gone),
        dict(counts),
    )


def fit_in_memory(rows: int) -> bool:
    """Whether so many rows are exchanged in memory."""
    return rows <= MEMORY_ROWS


def rows_by_file(rows: pa.Table) -> dict[str, int]:
    """File -> number of its rows."""
    return dict(Counter(rows[ORIGIN].to_pylist()))


def number_of_parts(rows: int) -> int:
    """How many parts so many rows are exchanged in."""
    return max(1, -(-rows // PART_ROWS))


def parts_of(rows: int) -> int:
    """How many parts so many rows are computed in; one if they fit in memory."""
    return 1 if fit_in_memory(rows) else number_of_parts(rows)


def exact_columns(schema: pa.Schema) -> list[str]:
    """The columns by which rows are split into parts: those whose equal values have one form in every engine."""
    return [
        field.name for field in schema if not (types.is_nested(field.type) or types.is_floating(field.type))
    ] or schema.names[:1]


def with_file_names(rows: pa.Table, schema: pa.Schema, table: str) -> pa.Table:
    """Rows of a scan in the table's schema, with the names of their files in `ORIGIN`."""
    origins = rows[ORIGIN]
    # the last component: engines return paths with or without a scheme
    names = pc.replace_substring_regex(origins, r"^.*/", "")
    return conform_schema(rows.drop_columns([ORIGIN]), schema, table).append_column(ORIGIN, names)
