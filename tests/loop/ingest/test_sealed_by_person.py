"""What names a person is unreadable once the person's key is destroyed, and a run goes on past it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
import pytest
from conftest_loop import FIRST, Project, daily
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.clock import to_micros
from tidemill.core.errors import NoSuchSubject
from tidemill.core.identity.surrogates import Vault
from tidemill.core.records.posted_event import (
    CheckedEvent,
    NamedPerson,
    PostedEvent,
    SealedSubject,
    decode_event,
    encode_event,
    sealed_event,
)
from tidemill.core.source_read import REFUSED
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files
from tidemill.loop.ingest.arrivals import _sealed
from tidemill.loop.ingest.sealed_table import opened_table, sealed_table
from tidemill.loop.pipeline.resolve_hold import accept_hold
from tidemill.loop.project.stores import Stores

LAST = FIRST + timedelta(days=2)


def post(stores: Stores, *events: PostedEvent) -> None:
    folder = stores.state / "events" / "reviews"
    folder.mkdir(parents=True, exist_ok=True)
    writer = SegmentWriter(folder, stores.clock)
    writer.append(*[encode_event(event) for event in events])
    writer.close()


def event(stores: Stores, user: str, item: str) -> CheckedEvent:
    at = to_micros(datetime(2024, 1, 4, 12, tzinfo=UTC))
    surrogate = stores.surrogates("user_id", user)
    stores.vault.remember("user_id", [surrogate], [user])
    row = {"item_id": item, "rating": 5.0, "reviewed_at": at}
    return CheckedEvent(received_at=at, row=row, people={"user_id": NamedPerson(surrogate, user)})


def test_a_posted_event_of_somebody_forgotten_is_left_out_and_said(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    project.run(LAST)
    stores, _ = project.open()
    events = [event(stores, "goes", "i1"), event(stores, "stays", "item-of-stays")]
    old = PostedEvent(  # as servers sealed before: the identity under the vault's key, the row in the clear
        received_at=1,
        row=event(stores, "old", "i3").row,
        people={"user_id": SealedSubject(stores.surrogates("user_id", "old"), stores.vault.seal(b"old"))},
        format=1,
    )
    post(stores, *[sealed_event(one, stores.vault.seal) for one in events], old)
    (file,) = segment_files(stores.state / "events" / "reviews")
    assert b"item-of-stays" not in file.read_bytes() and b"stays" not in file.read_bytes()
    goes = stores.surrogates("user_id", "goes")
    assert stores.vault.forget([goes]) == 1
    first = decode_event(next(iter(read_frames(file))).payload)
    with pytest.raises(NoSuchSubject, match=goes):
        stores.vault.unseal(first.sealed)
    report = project.run(LAST + timedelta(days=1))
    assert report.arrived == 2 and report.refused == 0
    skipped = "reviews: 1 posted event skipped: the vault has no key of their person, who was erased, or"
    assert any(skipped in note for note in report.notes)
    items = {row["item_id"] for row in project.rows("ratings") if row["user_id"] in
             {stores.surrogates("user_id", name) for name in ("goes", "stays", "old")}}  # fmt: skip
    assert items == {"item-of-stays", "i3"}
    again = project.run(LAST + timedelta(days=2))
    assert again.arrived == 0 and not again.notes


def test_a_held_day_is_accepted_without_the_rows_of_somebody_forgotten(project: Project) -> None:
    goes, bad = "u-goes", FIRST + timedelta(days=5)
    good = [row for row in daily(6) if row[3] == bad]
    day = [(user, item, rating + 20 if n % 3 == 0 else rating, at) for n, (user, item, rating, at) in enumerate(good)]
    day += [(goes, "i1", 5.0, bad), (goes, "i2", 5.0, bad)]
    project.write("reviews.csv", [row for row in daily(6) if row[3] != bad] + day * 2)
    report = project.run(bad)
    assert report.held == [("reviews", 6)]
    stores, graph = project.open()
    ((stream, number),) = report.held
    surrogate = stores.surrogates("user_id", goes)
    kept = stores.lake.held(stream, number)
    whole, _ = opened_table(stores.vault, kept.rows)
    assert whole["user_id"].to_pylist().count(surrogate) == 4
    assert kept.rows.column_names == ["rows", "sealed"]
    stores.vault.forget([surrogate])
    left, gone = opened_table(stores.vault, kept.rows)
    assert (left.num_rows, gone) == (whole.num_rows - 4, 4)
    brought = accept_hold(stores, graph, stream, number, who="ada", reason="the feed was sent twice")
    assert brought.increment.counts.arrived == left.num_rows
    assert stores.ledger.find("accept")[-1].details["unreadable"] == "4"
    assert surrogate not in {row["user_id"] for row in project.rows("ratings")}


def test_a_quarantined_line_of_somebody_forgotten_does_not_open(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    project.run(LAST)
    stores, graph = project.open()
    stream = graph.mill.streams["reviews"]
    lines = [b'{"user_id": "goes", "rating": "x"}', b'{"user_id": "stays", "rating": "x"}', b"i1,goes,x,1", b'{"user'
             b'_id": 5}', b"[1]", b"\xff"]  # fmt: skip
    refused = pa.Table.from_pylist(
        [
            {"_row": n, "_day": None, "file": "f", "line": n, "column": None, "reason": "r", "raw": line}
            for n, line in enumerate(lines)
        ],
        schema=REFUSED,
    )
    sealed = _sealed(stream, refused, stores.surrogates, stores.vault)["raw"].to_pylist()
    assert [stores.vault.unseal(one) for one in sealed] == lines
    stores.vault.forget([stores.surrogates("user_id", "goes")])
    with pytest.raises(NoSuchSubject):
        stores.vault.unseal(sealed[0])
    assert [stores.vault.unseal(one) for one in sealed[1:]] == lines[1:]


def test_a_row_that_the_contract_refuses_is_sealed_under_its_persons_key(project: Project) -> None:
    project.write("reviews.csv", [*daily(3, per_day=300), ("goes", "i1", 25.0, FIRST), ("stays", "i1", 25.0, LAST)])
    report = project.run(LAST)
    stores, graph = project.open()
    for stream, number in report.held:
        accept_hold(stores, graph, stream, number, who="ada", reason="as it is")
    kept = stores.lake.quarantined("reviews")
    assert kept is not None and kept.num_rows == 2
    goes, stays = kept["raw"].to_pylist()
    stores.vault.forget([stores.surrogates("user_id", "goes")])
    with pytest.raises(NoSuchSubject):
        stores.vault.unseal(goes)
    assert msgspec.json.decode(stores.vault.unseal(stays))["user_id"] == stores.surrogates("user_id", "stays")


_NAMES = st.sampled_from(["a", "b", "c", None])


@given(rows=st.lists(st.tuples(_NAMES, _NAMES, st.floats(allow_nan=False) | st.none(), st.booleans())), data=st.data())
def test_a_sealed_table_is_the_same_table(
    rows: list[tuple[str | None, str | None, float | None, bool]],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    vault = _vault()
    schema = pa.schema(
        [("buyer", pa.string()), ("seller", pa.string()), ("x", pa.float64()), ("flag", pa.bool_()),
         ("at", pa.timestamp("us", "UTC")), ("_day", pa.date32()), ("_row", pa.int64())]
    )  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
    n = range(len(rows))
    plain = [*columns, [1_000 * place for place in n], [place % 3 for place in n], list(n)]
    arrays = [
        pa.array(column, {"at": pa.int64(), "_day": pa.int32()}.get(field.name, field.type)).cast(field.type)
        for field, column in zip(schema, plain, strict=True)
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    sealed = sealed_table(vault, table, ["buyer", "seller"])
    opened, gone = opened_table(vault, sealed)
    assert opened.equals(table) and opened.schema.equals(table.schema) and gone == 0
    assert opened_table(vault, table) == (table, 0)  # as it was kept before
    who = data.draw(st.sampled_from(["a", "b", "c"]))
    vault.forget([who])
    left, gone = opened_table(vault, sealed)
    kept = [row for row in table.to_pylist() if who not in (row["buyer"], row["seller"])]
    assert left.to_pylist() == kept and gone == len(rows) - len(kept)


class _Keys:
    vault = bytes(range(32))


class _InMemory:
    def __init__(self) -> None:
        self.entries: dict[str, tuple[str, bytes, bytes]] = {}

    def known(self, surrogates):
        return self.entries.keys() & set(surrogates)

    def get_many(self, surrogates):
        return {one: self.entries[one] for one in surrogates if one in self.entries}

    def put(self, entries):
        self.entries |= {surrogate: tuple(rest) for surrogate, *rest in entries}

    def forget(self, surrogates):
        return sum(self.entries.pop(one, None) is not None for one in surrogates)


def _vault() -> Vault:
    vault = Vault(_InMemory(), _Keys())  # type: ignore[arg-type]
    vault.remember("user_id", ["a", "b", "c"], ["A", "B", "C"])
    return vault
