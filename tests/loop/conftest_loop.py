"""A small project of its own for each test: the shop's template over a few files."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import FixedClock
from tidemill.core.settings import load
from tidemill.loop.pipeline.run import RunReport, run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import Stores, open_stores

FIRST = date(2024, 1, 1)


def seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


@dataclass
class Project:
    """A project on disk; `open` gives its stores anew each time, as another process would."""

    path: Path
    clock: FixedClock

    def write(self, name: str, rows: Sequence[tuple[str, str, float, date]]) -> Path:
        """Reviews as (user, item, rating, day) into `data/NAME`."""
        file = self.path / "data" / name
        text = "".join(f"{item},{user},{rating},{seconds(day)}\n" for user, item, rating, day in rows)
        file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return file

    def open(self) -> tuple[Stores, ProjectGraph]:
        mill = load_mill(self.path)
        stores = open_stores(self.path, load(self.path, environ={}), self.clock, name=mill.name)
        return stores, ProjectGraph.of_project(mill, stores)

    def run(self, until: date, *, backfill: bool = False) -> RunReport:
        stores, graph = self.open()
        return run(stores, graph, until=until, backfill=backfill)

    def rows(self, table: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        stores, _ = self.open()
        return sorted_rows(stores.lake.view().arrow(table, columns))


def sorted_rows(rows: pa.Table) -> list[dict[str, Any]]:
    return sorted(rows.to_pylist(), key=repr)


def daily(days: int, per_day: int = 12, *, users: int = 30, items: int = 15, first: date = FIRST) -> list[Any]:
    """A deterministic life: `per_day` reviews on each of `days` days."""
    made = []
    for day in range(days):
        for i in range(per_day):
            n = day * per_day + i
            made.append(
                (f"u{(n * 7) % users}", f"i{(n * 5 + day) % items}", float(1 + n % 5), first + timedelta(days=day))
            )
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


def new_project(tmp_path: Path) -> Project:
    path = tmp_path / "shop"
    write_project(path, "shop")
    (path / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{tmp_path / "keys"}"\nsearch = "exact"\n'
        '[laptop.sources]\nreviews = "file:data/reviews*?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
        'items = "file:data/items.jsonl"\n'
    )
    (path / "data" / "items.jsonl").write_text(
        "".join(
            f'{{"item_id": "i{i}", "updated_at": "2023-12-31T00:00:00Z", "category": "c{i % 3}", "in_stock": true}}\n'
            for i in range(15)
        )
    )
    return Project(path, FixedClock(datetime(2026, 11, 1, tzinfo=UTC)))


MakeProject = Callable[[], Project]
