"""Contracts, and a reader that keeps between runs what a caller keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.core.contract.contract import Contract, Event, event_time, field, item, subject
from tidemill.core.source_read import ReadRequest, SourceRead, SourceState
from tidemill.sources import FileSource
from tidemill.sources.files.file_state import FileSourceState, FileState

COLUMNS = "?columns=item_id,user_id,rating,reviewed_at:unix_s"


class Review(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: float = field(ge=1, le=5)
    reviewed_at: datetime = event_time(zone="UTC")


class Item(Event):
    item_id: str = item()
    updated_at: datetime = event_time(zone="UTC")
    category: str | None = None
    in_stock: bool = True


class Reader:
    """Reads a folder run after run, and keeps between runs exactly what a caller keeps."""

    def __init__(self, base: Path, contract: Contract) -> None:
        self.base, self.contract = base, contract
        self.state: SourceState | None = None
        self.after: date | None = None

    def __call__(self, url: str, until: date | None = None, *, zone: str = "UTC", **more: Any) -> SourceRead:
        request = ReadRequest(until=until, zone=zone, after=self.after, state=self.state, **more)
        read = FileSource(url, self.contract, self.base).read(request)
        self.state = read.state
        self.after = until if until is not None else date(9999, 12, 31)
        return read


def files_of(read: SourceRead) -> tuple[FileState, ...]:
    """The files that the state after a read knows."""
    return FileSourceState.from_source_state(read.state, range(1 << 23)).files


def taken(read: SourceRead) -> dict[int, int]:
    """Number of a file -> lines whose rows were taken, as the state after a read has it."""
    return FileSourceState.from_source_state(read.state, range(1 << 23)).taken


def earlier_state(files: Sequence[FileState], positions: dict[str, int]) -> SourceState:
    """A state in the form that ledger lines held before states had formats."""
    return SourceState.from_entries("", 0, {"files": files, "positions": positions})


def rows(read: SourceRead, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of the good rows as tuples."""
    return pl.DataFrame(pl.from_arrow(read.good)).select(columns).rows()


def refusals(read: SourceRead) -> list[tuple[int, str | None, str]]:
    """`(line, column, reason)` of the refused lines."""
    return pl.DataFrame(pl.from_arrow(read.refused)).select("line", "column", "reason").rows()


def lines(*days: int, start: int = 1_500_000_000, users: Sequence[str] = ()) -> bytes:
    """One CSV line per entry: item, user, rating, seconds `days` after `start`."""
    return b"".join(
        f"B{n:09d},{users[n] if users else f'A{n:012d}'},{n % 5 + 1}.0,{start + day * 86_400}\n".encode()
        for n, day in enumerate(days)
    )
