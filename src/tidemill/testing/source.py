"""Contract suite of `Source` back-ends. Override `make`, `deliver` and `contract`.

The tests use five days, 0 to 4. Rows arrive on each of them, and on day 2 at least one row of an earlier day arrives
late.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tidemill.core.contract.contract import Contract
from tidemill.core.errors import FormatTooNew
from tidemill.core.ports import Source
from tidemill.core.row_ids import split_row_id
from tidemill.core.source_read import REFUSED, ReadRequest, SourceRead, SourceState, good_schema

DAYS = 5


class SourceSuite:
    """One test per guarantee of the port."""

    #: The day 0 of the tests, in UTC.
    first_day = date(2026, 3, 1)
    #: Whether the source generates the rows of a requested day itself, so that `deliver` does nothing.
    delivers_itself = False

    @property
    def contract(self) -> Contract:
        """The contract with which `make` constructs the source."""
        raise NotImplementedError

    def make(self, root: Path) -> Source:
        """A source that reads what was delivered below `root`. Repeated calls give the same source."""
        raise NotImplementedError

    def deliver(self, root: Path, day: int) -> None:
        """Write below `root` what arrives on a day; called for the days in order."""
        raise NotImplementedError

    def day(self, number: int) -> date:
        """The date of a test day."""
        return self.first_day + timedelta(days=number)

    def read(
        self, root: Path, until: int | None, after: int | None = None, state: SourceState | None = None
    ) -> SourceRead:
        """One read by a new source, because each run constructs its own."""
        days = [None if number is None else self.day(number) for number in (until, after)]
        return self.make(root).read(ReadRequest(until=days[0], after=days[1], state=state))

    def deliver_all(self, root: Path) -> None:
        """Deliver all five days."""
        for day in range(DAYS):
            self.deliver(root, day)

    def test_rows_have_the_columns_of_the_contract_and_rising_row_ids(self, tmp_path: Path) -> None:
        self.deliver_all(tmp_path)
        read = self.read(tmp_path, DAYS - 1)
        assert read.good.schema.equals(good_schema(self.contract)) and read.refused.schema.equals(REFUSED)
        ids = row_ids(read)
        assert len(ids) >= DAYS and ids == sorted(set(ids))
        assert {split_row_id(row)[0] for row in ids} <= read.names.keys()
        assert read.state.kind == self.make(tmp_path).kind

    def test_every_day_has_rows_and_each_row_is_of_one_increment(self, tmp_path: Path) -> None:
        self.deliver_all(tmp_path)
        read = self.read(tmp_path, DAYS - 1)
        days = [read.of_day(self.day(number), first=number == 0)[0] for number in range(DAYS)]
        assert all(day.num_rows for day in days)
        assert sorted(pa.concat_tables(days)["_row"].to_pylist()) == row_ids(read)

    def test_day_by_day_gives_every_row_once_under_the_row_id_of_one_read(self, tmp_path: Path) -> None:
        came: list[int] = []
        state, after = None, None
        for number in range(DAYS):
            self.deliver(tmp_path, number)
            read = self.read(tmp_path, number, after, state)
            came += row_ids(read)
            state, after = read.state, number
        assert sorted(came) == row_ids(self.read(tmp_path, DAYS - 1))

    def test_rows_of_later_days_wait_until_they_are_due(self, tmp_path: Path) -> None:
        self.deliver_all(tmp_path)
        first = self.read(tmp_path, 1)
        assert pc.max(first.good["_day"]).as_py() <= self.day(1)
        second = self.read(tmp_path, DAYS - 1, 1, first.state)
        assert sorted(row_ids(first) + row_ids(second)) == row_ids(self.read(tmp_path, DAYS - 1))

    def test_a_late_row_comes_with_the_next_read(self, tmp_path: Path) -> None:
        for number in (0, 1):
            self.deliver(tmp_path, number)
        first = self.read(tmp_path, 1)
        self.deliver(tmp_path, 2)
        second = self.read(tmp_path, 2, 1, first.state)
        late = second.good.filter(pc.less_equal(second.good["_day"], pa.scalar(self.day(1))))
        assert late.num_rows and not set(late["_row"].to_pylist()) & set(row_ids(first))
        assert set(late["_row"].to_pylist()) <= set(second.of_day(self.day(2), first=True)[0]["_row"].to_pylist())

    def test_a_read_that_is_done_again_gives_the_same(self, tmp_path: Path) -> None:
        for number in (0, 1):
            self.deliver(tmp_path, number)
        before = self.read(tmp_path, 0)
        one, two = (self.read(tmp_path, 1, 0, before.state) for _ in range(2))
        assert one.good.equals(two.good) and one.refused.equals(two.refused) and one.state == two.state

    def test_the_state_survives_being_stored(self, tmp_path: Path) -> None:
        self.deliver(tmp_path, 0)
        before = self.read(tmp_path, 0).state
        stored = msgspec.json.decode(msgspec.json.encode(before), type=SourceState)
        self.deliver(tmp_path, 1)
        kept, again = (self.read(tmp_path, 1, 0, state) for state in (before, stored))
        assert kept.good.equals(again.good) and kept.state == again.state and kept.good.num_rows

    def test_a_day_on_which_nothing_arrives_changes_nothing(self, tmp_path: Path) -> None:
        if self.delivers_itself:
            return
        for number in (0, 1):
            self.deliver(tmp_path, number)
        first = self.read(tmp_path, 1)
        second = self.read(tmp_path, 2, 1, first.state)
        assert second.good.num_rows == 0 and second.state == first.state

    def test_a_day_that_is_done_gives_nothing_and_the_same_state(self, tmp_path: Path) -> None:
        self.deliver_all(tmp_path)
        first = self.read(tmp_path, 2)
        read = self.read(tmp_path, 2, 2, first.state)
        assert (read.good.num_rows, read.refused.num_rows) == (0, 0) and read.state == first.state
        assert read.good.schema.equals(good_schema(self.contract)) and read.refused.schema.equals(REFUSED)

    def test_nothing_delivered_and_nothing_due_is_an_empty_read(self, tmp_path: Path) -> None:
        read = self.read(tmp_path, 0, 0)
        assert read.good.num_rows == 0 and read.state.kind == self.make(tmp_path).kind

    def test_a_state_of_a_later_format_is_refused_by_name(self, tmp_path: Path) -> None:
        self.deliver(tmp_path, 0)
        state = self.read(tmp_path, 0).state
        later = msgspec.structs.replace(state, format=state.format + 1)
        self.deliver(tmp_path, 1)
        with pytest.raises(FormatTooNew, match=f"`{state.kind}` has format {later.format}"):
            self.read(tmp_path, 1, 0, later)


def row_ids(read: SourceRead) -> list[int]:
    """The row ids of a read's valid rows, in their order."""
    ids: list[int] = read.good["_row"].to_pylist()
    return ids
