"""Tables in SQL: the same tables as by a function, by touched keys and in full; what is no query is refused."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import BackendMissing, GraphError, TypeMismatch, UnknownName
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.sql_query import SqlQuery

TABLES = '''
@mill.table(by="item_id")
def by_function(reviews, items):
    last = reviews.unique(["user_id", "item_id"], keep="last", order_by=["reviewed_at", "_row"])
    counted = last.group_by("item_id").agg(n=nw.len(), stars=nw.mean("rating"), last_at=nw.max("reviewed_at"))
    return counted.join(items.select("item_id", "category"), on="item_id", how="left")


TEXT = """
    -- of each user the last rating
    WITH newest AS (
        SELECT *, row_number() OVER (PARTITION BY user_id, item_id ORDER BY reviewed_at DESC, _row DESC) AS place
        FROM reviews
    )
    SELECT item_id, count(*) AS n, avg(rating) AS stars, max(reviewed_at) AS last_at, any_value(category) AS category
    FROM newest LEFT JOIN items USING (item_id) WHERE place = 1 GROUP BY item_id;
"""
mill.sql("by_query", TEXT, by="item_id")
mill.sql("whole", TEXT)
'''


@pytest.fixture
def both(project: Project) -> Project:
    file = project.path / "mill.py"
    file.write_text(file.read_text() + TABLES)
    return project


def test_a_query_makes_the_same_table_as_a_function(both: Project) -> None:
    rows = daily(6, users=8, items=6)
    for day in range(2):
        last = FIRST + timedelta(days=4 + day)
        both.write("reviews.csv", [row for row in rows if row[3] <= last])
        both.run(last, backfill=not day)
        expected = both.rows("by_function")
        assert len(expected) == 6
        for name in ("by_query", "whole"):
            assert [dict(sorted(row.items())) for row in both.rows(name)] == [
                dict(sorted(row.items())) for row in expected
            ]


def test_another_query_is_other_code_and_a_touched_key_is_computed_alone(both: Project) -> None:
    both.write("reviews.csv", daily(2))
    both.run(FIRST, backfill=True)
    before = both.open()[1].codes
    file = both.path / "mill.py"
    file.write_text(file.read_text().replace("avg(rating) AS stars", "max(rating) AS stars"))
    after = both.open()[1].codes
    assert {name for name in before if before[name] != after[name]} == {"by_query", "whole"}
    both.run(FIRST + timedelta(days=1))
    assert all(row["stars"] == int(row["stars"]) for row in both.rows("by_query"))


def graph(project: Project, query: str, **more: Any) -> Any:
    file = project.path / "mill.py"
    file.write_text(file.read_text() + f'\nmill.sql("made", """{query}""", **{more!r})\n')
    return project.open()[1]


def test_columns_and_types_are_known_before_a_row_is_read(project: Project) -> None:
    schema = graph(project, "SELECT item_id, count(*) AS n, sum(_row) AS t FROM reviews GROUP BY ALL").schemas["made"]
    assert {field.name: str(field.type) for field in schema} == {"item_id": "string", "n": "int64", "t": "int64"}


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        ("SELECT * FROM revews", UnknownName, "revews.*"),
        ("SELECT item, 1 FROM reviews", UnknownName, "no column 'item'"),
        ("SELECT upper(rating, 2) FROM reviews", TypeMismatch, "made: BinderException"),
        ("SELECT * FROM read_csv('/etc/passwd')", TypeMismatch, "disabled by configuration"),
    ],
)
def test_what_does_not_fit_is_refused(project: Project, query: str, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        graph(project, query)


@pytest.mark.parametrize(
    ("query", "says"),
    [("SELECT FROM", "not valid SQL"), ("SELECT 1; SELECT 2", "one SELECT"), ("DROP TABLE reviews", "one SELECT")],
)
def test_what_is_no_query_is_refused_with_its_line(project: Project, query: str, says: str) -> None:
    with pytest.raises(GraphError, match=says) as refused:
        graph(project, query)
    assert "mill.py, line " in refused.value.message


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT 1 AS a", ()),
        ("SELECT * FROM a JOIN b USING (k) LEFT JOIN (SELECT * FROM c) d ON true", ("a", "b", "c")),
        ("WITH a AS (SELECT * FROM a), b AS (SELECT * FROM a) SELECT * FROM b UNION ALL SELECT * FROM c", ("a", "c")),
        ("WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a JOIN b ON true) SELECT * FROM a", ("b",)),
        ("SELECT (SELECT max(x) FROM b) FROM a WHERE EXISTS (SELECT 1 FROM c WHERE c.x = a.x)", ("a", "b", "c")),
        ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a", ("a",)),
        ("SELECT * FROM other.a", ("other.a",)),
        ("FROM a", ("a",)),
    ],
)
def test_the_tables_of_a_query_are_its_inputs(query: str, tables: tuple[str, ...]) -> None:
    assert SqlQuery.parsed(query).tables == tables


def test_without_duckdb_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(BackendMissing) as missing:
        Mill("m").sql("made", "SELECT 1")
    assert "tidemill[sql]" in str(missing.value)


def test_names_are_taken_once(project: Project) -> None:
    mill = load_mill(project.path)
    for name in ("ratings", "no name"):
        with pytest.raises(GraphError):
            mill.sql(name, "SELECT * FROM reviews")
