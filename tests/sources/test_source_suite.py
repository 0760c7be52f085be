"""Files, the simulated shop, posted events and a source that knows only `core` keep the promises of the port."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from source_reader import Review

from tidemill.backends.segment_events import SegmentEvents
from tidemill.core.clock import FixedClock, to_micros
from tidemill.core.contract.contract import Contract
from tidemill.core.records.posted_event import PostedEvent, SealedSubject, encode_event
from tidemill.core.row_ids import row_id
from tidemill.core.source_read import REFUSED, ReadRequest, SourceRead, SourceState, good_schema
from tidemill.core.storage.segments import SegmentWriter
from tidemill.sources import FileSource, ShopSource, open_source
from tidemill.sources.posted_events import EventSource
from tidemill.testing import SourceSuite

COLUMNS = "?columns=user_id,item_id,rating,reviewed_at:unix_s"


class _Reviews(SourceSuite):
    """Two reviews a day, and on day 2 a late one of day 0."""

    @property
    def contract(self) -> Contract:
        return Review.contract

    def rows(self, day: int) -> list[tuple[str, datetime]]:
        noon = datetime.combine(self.day(day), time(12), UTC)
        late = [("late", noon - timedelta(days=2))] if day == 2 else []
        return [(f"u{day}{i}", noon + timedelta(seconds=i)) for i in range(2)] + late

    def lines(self, day: int) -> str:
        return "".join(f"{user},i1,4.0,{int(at.timestamp())}\n" for user, at in self.rows(day))


class TestManyFiles(_Reviews):
    """A file a day."""

    def make(self, root: Path) -> FileSource:
        return FileSource(f"file:in{COLUMNS}", self.contract, root)

    def deliver(self, root: Path, day: int) -> None:
        (root / "in").mkdir(exist_ok=True)
        (root / "in" / f"{day}.csv").write_text(self.lines(day))


class TestOneFile(_Reviews):
    """One file that grows."""

    def make(self, root: Path) -> FileSource:
        return FileSource(f"file:a.csv{COLUMNS}", self.contract, root)

    def deliver(self, root: Path, day: int) -> None:
        with (root / "a.csv").open("a") as file:
            file.write(self.lines(day))


class TestPostedEvents(_Reviews):
    """A segment of events for each day."""

    def make(self, root: Path) -> EventSource:
        return EventSource(SegmentEvents(root), "events", self.contract, unseal=bytes)

    def deliver(self, root: Path, day: int) -> None:
        writer = SegmentWriter(root / "events", FixedClock(datetime.combine(self.day(day), time(13), UTC)))
        for user, at in self.rows(day):
            row = {"item_id": "i1", "rating": 4.0, "reviewed_at": to_micros(at)}
            people = {"user_id": SealedSubject("s" * 26, user.encode())}
            writer.append(encode_event(PostedEvent(received_at=to_micros(at), row=row, people=people)))
        writer.close()


class TestShop(SourceSuite):
    """The simulated shop."""

    delivers_itself = True

    @property
    def contract(self) -> Contract:
        return Review.contract

    def make(self, root: Path) -> ShopSource:
        return ShopSource(
            f"shop:reviews?seed=5&customers=2000&items=50&late=0.3&start={self.first_day}", self.contract, root
        )

    def deliver(self, root: Path, day: int) -> None:
        """Its rows arrive by the day that is asked for."""


class LogSource:
    """A source of an outsider: numbered partitions, of which it keeps offsets. It imports nothing but `core`."""

    kind = "log"
    #: Partition -> rows of (person, time), for each place.
    logs: ClassVar[dict[Path, dict[int, list[tuple[str, datetime]]]]] = {}

    def __init__(self, url: str, contract: Contract, base: Path) -> None:
        self._contract, self._base = contract, base

    def read(self, request: ReadRequest) -> SourceRead:
        state = request.state or SourceState(kind=self.kind, format=1)
        state.require_format(1)
        if request.nothing_due:
            return SourceRead.empty(self._contract, state)
        good, offsets = [], {}
        for partition, rows in self.logs.get(self._base, {}).items():
            seen = state.entry(str(partition), int, 0)
            for offset, (user, at) in enumerate(rows, 1):
                waits = request.until is not None and at.date() > request.until
                new = offset > seen or (request.after is None or at.date() > request.after)
                if new and not waits:
                    row = {"user_id": user, "item_id": "i1", "rating": 4.0, "reviewed_at": at}
                    good.append(row | {"_row": row_id(partition + 1, offset), "_day": at.date()})
            offsets[str(partition)] = len(rows)
        return SourceRead(
            good=pa.Table.from_pylist(good, good_schema(self._contract)),
            refused=REFUSED.empty_table(),
            state=SourceState.from_entries(self.kind, 1, offsets),
            names={partition + 1: f"partition {partition}" for partition in self.logs.get(self._base, {})},
        )


class TestOutsider(_Reviews):
    """A source that is found by its entry point."""

    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        point = EntryPoint("log", f"{__name__}:LogSource", "tidemill.sources")
        monkeypatch.setattr("tidemill.sources.source_by_url.entry_points", lambda group: {"log": [point]})

    def make(self, root: Path) -> LogSource:
        source = open_source("log:reviews", self.contract, root)
        assert isinstance(source, LogSource)
        return source

    def deliver(self, root: Path, day: int) -> None:
        log = LogSource.logs.setdefault(root, {0: [], 1: []})
        for i, row in enumerate(self.rows(day)):
            log[i % 2].append(row)


class _Careless(LogSource):
    """Wrong: it forgets its offsets."""

    def read(self, request: ReadRequest) -> SourceRead:
        read = super().read(request)
        return SourceRead(
            good=read.good, refused=read.refused, state=SourceState(kind="log", format=1), names=read.names
        )


def test_a_source_that_forgets_is_caught(tmp_path: Path) -> None:
    class Suite(TestOutsider):
        def make(self, root: Path) -> LogSource:
            return _Careless("log:", self.contract, root)

    with pytest.raises(AssertionError):
        Suite().test_a_day_on_which_nothing_arrives_changes_nothing(tmp_path)
