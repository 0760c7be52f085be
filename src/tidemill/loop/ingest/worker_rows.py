"""Rows of a stream that an engine's workers read and keep: people are replaced by surrogates before a row leaves them.

What else they find comes back beside the rows: new entries of the vault and refused lines, both encrypted, and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.checks import split_refused
from tidemill.core import errors
from tidemill.core.contract.contract import ROW, Contract
from tidemill.core.empty_tables import empty_table
from tidemill.core.identity.keys import KeyReference, Keys
from tidemill.core.identity.surrogates import Surrogates, Vault, VaultEntry, VaultSealer
from tidemill.core.ports import Engine
from tidemill.core.row_ids import row_id
from tidemill.core.source_read import REFUSED, SourceSplit, SplitResult, good_schema
from tidemill.loop.ingest.arrived_rows import ManyRows

#: Least text that is read by workers on other machines, and in this process, where memory costs less than files.
WORKER_BYTES, IN_PROCESS_BYTES = 256 << 20, 1 << 30
#: Whether a row does not fit the contract.
UNFIT = "_unfit"
_SPLIT, _KIND, _CONTENT, _NUMBER = "_split", "_kind", "_content", "_number"
#: Entries of the vault, or refused lines, in one record.
_AT_ONCE = 1_000
#: People whose surrogates a worker keeps in memory, and entries that are stored at once.
_KNOWN_PEOPLE, _ENTRIES = 1_000_000, 65_536


class SplitCounts(msgspec.Struct, frozen=True):
    """What a worker says of a split that it has read."""

    #: Name, message and tip of the error that ended it.
    problem: tuple[str, str, str | None] | None = None
    summary: bytes = b""
    #: Day, in days since 1970 -> number of rows.
    days: dict[int, int] = {}


def hidden_people(
    contract: Contract, rows: pa.Table, surrogates: Callable[[str, Sequence[str]], Sequence[str]]
) -> pa.Table:
    """Rows with surrogates in place of people: those that `surrogates` returns for a column and its identifiers."""
    for column in contract.role("subject"):
        encoded = pc.dictionary_encode(rows[column].combine_chunks())
        raw = encoded.dictionary.to_pylist()
        hidden = pc.take(pa.array(surrogates(column, raw), pa.string()), encoded.indices)
        rows = rows.set_column(rows.schema.get_field_index(column), column, hidden)
    return rows


def marked_rows(contract: Contract, rows: pa.Table) -> pa.Table:
    """Rows with the mark `UNFIT`."""
    unfit = split_refused(contract, rows)[1][ROW].combine_chunks()
    return rows.append_column(UNFIT, pc.is_in(rows[ROW], value_set=unfit))


@dataclass(frozen=True)
class SplitReading:
    """Reads a split in a worker, which opens the keys itself: they are in no plan and no log of an engine."""

    contract: Contract
    keys: KeyReference

    @property
    def schema(self) -> pa.Schema:
        """The columns of rows, and those of other records."""
        return pa.schema([*good_schema(self.contract), (UNFIT, pa.bool_()), *_BESIDE])

    def __call__(self, task: tuple[int, SourceSplit]) -> Iterator[pa.Table]:
        number, split = task
        days: Counter[int] = Counter()
        counts = SplitCounts()
        try:
            hiding = _Hiding(self.contract, self.keys.open())
            for block in split.read():
                if block.rows is not None:
                    rows = hiding.rows(block.rows)
                    days.update(rows_by_day(rows))
                    yield self._table(number, rows)
                    for start in range(0, len(hiding.entries), _AT_ONCE):
                        entries = hiding.entries[start : start + _AT_ONCE]
                        yield self._record(number, "entries", msgspec.msgpack.encode(entries))
                    hiding.entries.clear()
                if block.refused is not None:
                    for lines in hiding.refused(block.refused).to_batches(max_chunksize=_AT_ONCE):
                        yield self._record(number, "refused", _ipc(lines))
                counts = SplitCounts(summary=block.summary, days=days)
        except errors.TidemillError as error:
            counts = SplitCounts(problem=(type(error).__name__, error.message, error.tip))
        except Exception as error:  # without its text, which may have values and would be in the engine's logs
            counts = SplitCounts(problem=("SourceError", f"{type(error).__name__} while {split.name} was read", None))
        yield self._record(number, "counts", msgspec.msgpack.encode(counts))

    def _record(self, number: int, kind: str, content: bytes) -> pa.Table:
        """A record beside the rows."""
        return self._table(number, pa.table({_KIND: [kind], _CONTENT: pa.array([content], pa.binary())}))

    def _table(self, number: int, rows: pa.Table) -> pa.Table:
        n = rows.num_rows
        given = {name: rows[name] for name in rows.column_names} | {_SPLIT: pa.array([number] * n, pa.int64())}
        return pa.table({field.name: given.get(field.name, pa.nulls(n, field.type)) for field in self.schema})


_BESIDE = [pa.field(_SPLIT, pa.int64()), pa.field(_KIND, pa.string()), pa.field(_CONTENT, pa.binary())]


class _Hiding:
    """Replaces people in the rows of one split, and seals what names them."""

    def __init__(self, contract: Contract, keys: Keys) -> None:
        self._contract = contract
        self._surrogates, self._sealer = Surrogates(keys.subject), VaultSealer(keys)
        #: Column -> identifier -> surrogate, of people whose entry is made.
        self._known: dict[str, dict[str, str]] = {}
        self.entries: list[VaultEntry] = []

    def rows(self, rows: pa.Table) -> pa.Table:
        return marked_rows(self._contract, hidden_people(self._contract, rows, self._surrogates_of))

    def refused(self, refused: pa.Table) -> pa.Table:
        return _with_raw(refused, [self._sealer.seal(raw) for raw in refused["raw"].to_pylist()])

    def _surrogates_of(self, kind: str, identifiers: Sequence[str]) -> list[str]:
        known = self._known.setdefault(kind, {})
        if len(known) > _KNOWN_PEOPLE:
            known.clear()
        new = [identifier for identifier in identifiers if identifier not in known]
        for surrogate, identifier in zip(self._surrogates.many(kind, new), new, strict=True):
            known[identifier] = surrogate
            self.entries.append(self._sealer.entry(kind, surrogate, identifier)[0])
        return [known[identifier] for identifier in identifiers]


def rows_by_day(rows: pa.Table) -> dict[int, int]:
    """Day, in days since 1970 -> number of rows."""
    found = pc.value_counts(rows["_day"].cast(pa.int32()).combine_chunks())
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _with_raw(refused: pa.Table, raw: Sequence[bytes]) -> pa.Table:
    return refused.set_column(refused.schema.get_field_index("raw"), REFUSED.field("raw"), pa.array(raw, pa.binary()))


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


class WorkerRows:
    """Has an engine's workers read the splits of one stream. Its rows are kept until `stack` ends."""

    def __init__(self, engine: Engine, contract: Contract, keys: Keys, stack: ExitStack) -> None:
        self._engine, self._contract, self._stack = engine, contract, stack
        self._reading = SplitReading(contract, keys.reference())
        self._frames: list[nw.LazyFrame[Any]] = []
        self._days: dict[int, dict[int, int]] = {}

    @property
    def least_bytes(self) -> int:
        """With less text than this, a source is read in this process."""
        return IN_PROCESS_BYTES if self._engine.in_process else WORKER_BYTES

    def read(self, splits: Sequence[SourceSplit]) -> list[SplitResult]:
        """A result for each split; the rows stay with the workers."""
        first = len(self._days)
        tasks = list(enumerate(splits, first))
        tasks.sort(key=lambda task: -task[1].size)
        kept = self._stack.enter_context(self._engine.read(tasks, self._reading, self._reading.schema))
        self._frames.append(kept.frame)
        found = {
            number: msgspec.msgpack.decode(content, type=SplitCounts)
            for number, content in self._records(kept.frame, "counts")
        }
        self._days |= {number: counts.days for number, counts in found.items()}
        return [
            SplitResult(number=number, summary=counts.summary, problem=_problem(counts))
            for number, counts in sorted(found.items())
        ]

    def rows(self, splits: Mapping[int, int], others: pa.Table) -> ManyRows:
        """The rows of these splits (split -> the number of its file), with surrogates, and `others` in memory."""
        schema = good_schema(self._contract)
        numbers = pa.table({_SPLIT: list(splits), _NUMBER: [row_id(file, 0) for file in splits.values()]})
        rows = nw.concat(self._frames).filter(nw.col(_KIND).is_null())
        rows = rows.join(self._engine.frame(numbers), on=_SPLIT).with_columns(
            (nw.col(ROW) + nw.col(_NUMBER)).alias(ROW)
        )
        frames = [rows.select(*schema.names, UNFIT)]
        by_day: Counter[int] = Counter()
        for number in splits:
            by_day.update(self._days[number])
        if others.num_rows:
            by_day.update(rows_by_day(others))
            frames.append(self._engine.frame(marked_rows(self._contract, others)).select(*schema.names, UNFIT))
        return ManyRows(self._engine, nw.concat(frames), schema, by_day)

    def refused(self, splits: Mapping[int, int], vault: Vault) -> pa.Table:
        """The refused lines of these splits, as they were read."""
        lines = [empty_table(REFUSED)]
        for frame in self._frames:
            for number, content in self._records(frame, "refused"):
                if number in splits:
                    found = pa.ipc.open_stream(content).read_all()
                    at = pc.add(found[ROW], row_id(splits[number], 0))
                    found = found.set_column(found.schema.get_field_index(ROW), REFUSED.field(ROW), at)
                    lines.append(_with_raw(found, [vault.unseal(raw) for raw in found["raw"].to_pylist()]))
        return pa.concat_tables(lines).sort_by(ROW)

    def remember_people(self, splits: Collection[int], vault: Vault) -> None:
        """Store the people of these splits in the vault, one split at a time."""
        for frame in self._frames:
            for split in splits:
                records = self._records(frame.filter(nw.col(_SPLIT) == split), "entries")
                entries = (one for _, found in records for one in msgspec.msgpack.decode(found, type=list[VaultEntry]))
                while some := list(islice(entries, _ENTRIES)):
                    vault.store(some)

    def _records(self, frame: nw.LazyFrame[Any], kind: str) -> Iterator[tuple[int, bytes]]:
        found = self._engine.collect(frame.filter(nw.col(_KIND) == kind).select(_SPLIT, _CONTENT))
        yield from zip(found[_SPLIT].to_pylist(), found[_CONTENT].to_pylist(), strict=True)


def _problem(counts: SplitCounts) -> errors.TidemillError | None:
    if counts.problem is None:
        return None
    name, message, tip = counts.problem
    kind: type[errors.TidemillError] = getattr(errors, name, errors.SourceError)
    return kind(message, tip=tip)
