"""SQL query of a table: one SELECT over the streams and tables that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import BackendMissing, GraphError


@dataclass(frozen=True)
class SqlQuery:
    """A SELECT, and the streams and tables that it reads, sorted; each engine evaluates it by its own SQL."""

    text: str
    tables: tuple[str, ...]

    @classmethod
    def parsed(cls, text: str) -> SqlQuery:
        """The query without a semicolon. Raises `GraphError` unless it is one SELECT that is valid.

        >>> SqlQuery.parsed("WITH last AS (SELECT * FROM reviews) SELECT * FROM last, items;").tables
        ('items', 'reviews')
        """
        duckdb = _duckdb()
        try:
            statements = duckdb.extract_statements(text)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise GraphError("a query is one SELECT statement", tip="declare one table for each")
            statement = statements[0].query.strip().removesuffix(";").rstrip()
            with duckdb.connect(":memory:") as connection:
                (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
        except duckdb.Error as error:
            raise GraphError(f"the query is not valid SQL: {error}") from None
        return cls(statement, tuple(sorted(set(_tables(json.loads(parsed), frozenset())))))


def _tables(node: Any, expressions: frozenset[str]) -> Iterator[str]:
    """The tables below a node of the syntax tree; `expressions` are the common table expressions that it sees."""
    if isinstance(node, list):
        for one in node:
            yield from _tables(one, expressions)
    if not isinstance(node, dict):
        return
    if node.get("type") == "RECURSIVE_CTE_NODE":
        expressions |= {node["cte_name"]}
    for one in (node.get("cte_map") or {"map": []})["map"]:
        yield from _tables(one["value"], expressions)
        expressions |= {one["key"]}
    if node.get("type") == "BASE_TABLE" and node["table_name"] not in expressions:
        parts = (node.get("catalog_name"), node.get("schema_name"), node["table_name"])
        yield ".".join([part for part in parts if part])
    for name, below in node.items():
        if name != "cte_map":
            yield from _tables(below, expressions)


def _duckdb() -> Any:
    try:
        import duckdb  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as missing:
        raise BackendMissing("tables in SQL need DuckDB", tip="pip install 'tidemill[sql]'") from missing
    return duckdb
