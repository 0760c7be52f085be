"""Merge of a stream's rows into its table: each row is new, a repeat, or conflicting; the largest `_row` wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import narwhals as nw
import pyarrow as pa
from pyarrow import types

from tidemill.core.contract.contract import ROW
from tidemill.core.errors import KeyAbsent
from tidemill.core.ports import Engine
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.deduplicate import merge_rows
from tidemill.lake.draft_changes import StagedChange, StagedMerge, StreamMerge
from tidemill.lake.part_exchange import (
    ORIGIN,
    PartChange,
    PartWriter,
    fit_in_memory,
    merge_changes,
    number_of_parts,
    rows_by_file,
    with_file_names,
)
from tidemill.lake.row_equality import conform_schema
from tidemill.lake.table_draft import TableDraft, ValueRange, as_numbers, count_rows

_N = "_n"


@dataclass(frozen=True)
class MergeParts(PartWriter):
    """Merges the arrived rows of a part, `new`, with the rows of the table that have their keys, `old`."""

    key: tuple[str, ...]

    def __call__(self, old: pa.Table, new: pa.Table) -> bytes:
        old, new = with_file_names(old, self.schema, self.table), conform_schema(new, self.schema, self.table)
        found = merge_rows(old.drop_columns([ORIGIN]), new.sort_by(ROW), self.key)
        removed = old.filter(pa.array(found.replaced))
        counts = {"repeated": found.repeated, "contradicted": found.contradicted, "merged": found.merged}
        added, gone = self.stager.stage(found.added), self.stager.stage(removed)
        return msgspec.json.encode(PartChange(added, gone, rows_by_file(removed), counts))


def merge_table(working: TableDraft, rows: pa.Table, key: Sequence[str]) -> StreamMerge:
    """Merge rows in memory, with the schema of the table."""
    refuse_absent(rows, key, working.name)
    keys = rows.select(list(key))
    known, n_read = working.pull(keys)
    result = merge_rows(known.drop_columns([ORIGIN]), rows, key)
    removed = known.filter(pa.array(result.replaced)).drop_columns([ORIGIN])
    n_read += working.exchange(known, result.replaced, rows, keys, result.wins)
    return StreamMerge(result.repeated, result.contradicted, result.merged, removed, n_read, rows, result.wins)


def merge_frame(working: TableDraft, engine: Engine, rows: nw.LazyFrame[Any], key: Sequence[str]) -> StagedMerge:
    """Merge the rows of a frame, which has the columns of the table, by the engine where they are.

    A row whose key occurs once, and not in the table, is written as it is. The others are compared: in memory if they
    are few, else in parts.
    """
    rows, names = rows.select(*working.schema.names), list(key)
    within = _bounds(working, engine, rows, names)
    n_arrived = nw.len().alias(_N)
    unsure_keys = rows.select(*names).group_by(*names).agg(n_arrived).filter(nw.col(_N) > 1).select(*names)
    known, n_read = working.scan(rows.select(*names), within=within)
    if n_read:
        unsure_keys = nw.concat([unsure_keys, known.select(*names)]).unique()
    changes: list[StagedChange] = []
    counts = {"repeated": 0, "contradicted": 0, "merged": 0}
    with engine.persist(unsure_keys, pa.schema([working.schema.field(name) for name in names])) as unsure:
        if unsure.rows:
            arrived = rows.join(unsure.frame, on=names, how="semi")
            rows = rows.join(unsure.frame, on=names, how="anti")
            n_unsure = count_rows(engine, arrived)
            if fit_in_memory(n_unsure):
                merged = merge_table(working, _collected(engine, arrived, working), names)
                counts = {name: getattr(merged, name) for name in counts}
                changes.append(StagedChange(merged.n_changed, engine.frame(merged.changed)))
                n_read += merged.rows_read
            else:
                old = working.scan(unsure.frame, ORIGIN, within)[0]
                merge = MergeParts(working.name, working.schema, working.stager(), tuple(names))
                parts = number_of_parts(n_unsure + unsure.rows)
                change = merge_changes(engine.cogroup(old, arrived, names, parts, merge))
                failpoint("publish.staged")
                working.change(change)
                counts |= change.counts
                changes.append(working.staged_change(change))
        new = PartChange(engine.stage(rows, working.stager()))
    failpoint("publish.staged")
    working.change(new)
    changes.append(working.staged_change(new))
    return StagedMerge(
        sum(change.n_changed for change in changes),
        nw.concat([change.changed for change in changes]),
        repeated=counts["repeated"],
        contradicted=counts["contradicted"],
        merged=counts["merged"] + changes[-1].n_changed,
        rows_read=n_read,
    )


def _collected(engine: Engine, rows: nw.LazyFrame[Any], working: TableDraft) -> pa.Table:
    return conform_schema(engine.collect(rows), working.schema, working.name).sort_by(ROW)


def _bounds(working: TableDraft, engine: Engine, rows: nw.LazyFrame[Any], key: Sequence[str]) -> dict[str, ValueRange]:
    """The range of each column of the key that is a whole number, a time or a day. Refuses a missing key."""
    ordered = [name for name in key if _is_ordered(working.schema.field(name).type)]
    asked = {f"{name} missing": nw.col(name).is_null().cast(nw.Int64).sum() for name in key}
    for name in ordered:
        asked |= {f"{name} low": nw.col(name).min(), f"{name} high": nw.col(name).max()}
    found = engine.collect(rows.select(nw.len().alias(_N), **asked))
    for name in key:
        _refuse(found[f"{name} missing"][0].as_py() or 0, found[_N][0].as_py(), name, working.name)
    ends = {name: [*as_numbers(found[f"{name} low"]), *as_numbers(found[f"{name} high"])] for name in ordered}
    return {name: (int(low_high[0]), int(low_high[1])) for name, low_high in ends.items() if low_high}


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_timestamp(kind) or types.is_date32(kind))


def refuse_absent(rows: pa.Table, key: Sequence[str], table: str) -> None:
    """Raise `KeyAbsent` if a row has no value in a column of the key."""
    for column in key:
        _refuse(rows[column].null_count, rows.num_rows, column, table)


def _refuse(n_absent: int, n_rows: int, column: str, table: str) -> None:
    if n_absent:
        raise KeyAbsent(f"{n_absent} of {n_rows} rows for table `{table}` have no `{column}`, which is part of its key")
