"""The Data page and the page of a table: sizes, newest rows, profiles and rows over time, and nothing of a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from tables_to_show import TableMill, table_mill

from conftest import ask
from tidemill.console import create_app
from tidemill.console.drawings.data_charts import arrival_chart, version_chart
from tidemill.console.pages.data_page import data_page
from tidemill.console.pages.table_page import table_page
from tidemill.console.state import table_state
from tidemill.console.state.table_state import TableProfiles
from tidemill.core.records.external_pin import ExternalPin
from tidemill.loop.online.feature_metadata_files import DeclaredFeatures, write_declared
from tidemill.loop.state.ledger_projection import LedgerProjection


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> TableMill:
    return table_mill(tmp_path_factory.mktemp("tables"))


def _table(mill: TableMill, name: str, **more: Any) -> Any:
    return table_page(mill.stores(), LedgerProjection(mill.ledger), name, **more)


def _get(mill: Any, path: str) -> Any:
    return ask(create_app(mill.stores(models=["for_you"])), path)


def test_tables_are_listed_with_size_and_held_increments(mill: TableMill) -> None:
    page = data_page(mill.stores(), LedgerProjection(mill.ledger))
    found = {one.name: one for one in page.tables}
    assert page.headline == "1 increment is held."
    assert list(found) == ["items", "reviews", "wide", "ratings"]  # streams first
    assert (found["reviews"].rows, found["reviews"].held, found["reviews"].personal) == (400 + 255 - 24, 1, True)
    assert (found["ratings"].inputs, found["items"].columns, found["items"].version) == (("reviews",), 3, 1)


def test_external_tables_are_listed_with_their_version(tmp_path: Path) -> None:
    mill = TableMill(tmp_path)
    columns = {"item_id": "str", "price": "decimal(10,2)"}
    mill.external["prices"] = ExternalPin(kind="delta", place="delta:/warehouse", says="version 7", columns=columns)
    mill.arrive("items", 1, {"items": pa.table({"item_id": ["i1"]})})
    (row,) = data_page(mill.stores(), LedgerProjection(mill.ledger)).external
    assert (row.name, row.kind, row.version, row.columns) == ("prices", "delta", "version 7", 2)
    html = _get(mill, "/data").text
    assert "Tables of other systems" in html and "<td>delta:/warehouse</td><td>version 7</td>" in html


def test_before_the_first_publication_there_are_no_tables(tmp_path: Path) -> None:
    empty = TableMill(tmp_path)
    assert data_page(empty.stores(), LedgerProjection(empty.ledger)).headline == "Nothing published yet."
    assert (_get(empty, "/data").status, _get(empty, "/data/reviews").status) == (200, 404)


def test_a_table_of_people_hides_them_and_shows_the_rest(mill: TableMill) -> None:
    page = _table(mill, "reviews")
    assert page.headline == "reviews has 631 rows."
    assert page.lead.startswith("Stream, one row per user_id, at.")
    assert [cell.state for cell in page.profile.preview[0]] == ["hidden", "value", "hidden", "value"]
    assert page.profile.preview[0][3].text == "2018-09-11"
    html = _get(mill, "/data/reviews").text
    assert "A quiet magazine" not in html and ">u1<" not in html
    assert "user_id is hidden" in html


def test_rows_of_increments_are_drawn_by_day_without_backfills(mill: TableMill) -> None:
    found = _table(mill, "reviews").arrivals
    assert (found.increments, found.backfilled, len(found.bins)) == (10, 400, 10)
    assert [(one.added, one.repeated, one.refused, one.held) for one in found.bins[2:5]] == [
        (23, 1, 2, 0), (0, 0, 0, 27), (25, 1, 2, 0),
    ]  # fmt: skip
    chart = arrival_chart(found)
    assert chart.table.head == ("From (UTC)", "Added", "Repeated", "Refused", "Held")
    assert chart.table.rows[3] == ("5 Sep 2018", "0", "0", "0", "27")


def test_many_days_are_drawn_by_week_and_all_their_rows_count(mill: TableMill) -> None:
    projected = LedgerProjection(mill.ledger).catch_up()
    stream = projected.streams["reviews"]
    last = stream.last
    for number in range(100, 500):
        day = last.increment.day.fromordinal(last.increment.day.toordinal() + number)

        increment = msgspec.structs.replace(last.increment, number=number, day=day)
        stream.increments[number] = type(last)(increment, last.verdict, last.at, held=False)
    found = table_state.arrivals(stream)
    assert (found.length, found.increments) == (7 * 86_400_000_000, 410)
    assert len(found.bins) <= 100
    assert sum(one.added for one in found.bins) == 231 + 400 * 30


def test_a_derived_table_is_drawn_by_version(mill: TableMill, monkeypatch: pytest.MonkeyPatch) -> None:
    page = _table(mill, "ratings")
    assert (page.arrivals, page.n_versions) == (None, 10)
    assert [one.rows for one in page.versions][:3] == [400, 421, 443]
    assert version_chart(page.versions).table.rows[0] == ("2 Sep 2018", "1", "400")
    monkeypatch.setattr(table_state, "VERSIONS", 4)
    page = _table(mill, "ratings")
    assert [one.version for one in page.versions] == [1, 4, 7, 10]


def test_columns_of_a_wide_table_come_in_parts(mill: TableMill) -> None:
    page = _table(mill, "wide")
    assert (page.parts, len(page.profile.columns)) == ((0, 40), 40)
    assert [one.name for one in _table(mill, "wide", first=40).profile.columns] == [f"c{k}" for k in range(40, 45)]
    assert 'href="/data/wide?column=40" aria-current="page">41–45' in _get(mill, "/data/wide?column=40").text
    assert _get(mill, "/data/wide?column=x").status == 400


def test_a_profile_is_read_once_per_version(mill: TableMill, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = TableProfiles()
    one = _table(mill, "items", profiles=profiles)
    monkeypatch.setattr(table_state, "table_profile", None)
    assert _table(mill, "items", profiles=profiles).profile is one.profile


def test_an_unknown_table_is_not_found_and_the_nearest_is_named(mill: TableMill) -> None:
    reply = _get(mill, "/data/review.json")
    assert reply.status == 404
    assert "`reviews`" in json.loads(reply.body)["error"]["message"]


def test_without_a_declaration_no_value_is_shown(tmp_path: Path) -> None:
    mill = table_mill(tmp_path)
    write_declared(mill.serving, DeclaredFeatures())
    page = _table(mill, "items")
    assert {cell.state for row in page.profile.preview for cell in row} == {"hidden"}
    assert "not known until the next" in _get(mill, "/data/items").text
