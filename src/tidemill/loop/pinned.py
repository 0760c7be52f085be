"""Tables and feature views of one publication as Polars frames: the same rows whatever is published meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import polars as pl

from tidemill.core.errors import UnknownName, nearest
from tidemill.features import newest
from tidemill.lake import View
from tidemill.loop.graph import Graph, told_of


class PinnedTables(Mapping[str, pl.DataFrame]):
    """Table name -> its rows, without the lake's own columns."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __getitem__(self, name: str) -> pl.DataFrame:
        columns = [column for column in self._view.schema(name).names if not column.startswith("_")]
        return cast(pl.DataFrame, pl.from_arrow(self._view.arrow(name, columns)))

    def __contains__(self, name: object) -> bool:
        return name in self._view

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._view.versions))

    def __len__(self) -> int:
        return len(self._view.versions)

    def __repr__(self) -> str:
        return "\n".join(
            f"{name}: {self._view.rows(name):,} rows, version {self._view.versions[name]}" for name in self
        )


class PinnedFeatures(Mapping[str, pl.DataFrame]):
    """Feature view -> the newest row of each entity, made from the tables of the publication."""

    def __init__(self, view: View, graph: Graph) -> None:
        self._view, self._graph = view, graph

    def __getitem__(self, name: str) -> pl.DataFrame:
        views = self._graph.mill.features_views
        if name not in views:
            raise UnknownName(f"there is no feature view {name!r}", tip=nearest(name, views))
        with told_of(f"features {name!r}"):
            made = views[name].function(**{table: self._view.scan(table) for table in views[name].inputs})
            rows = self._graph.engine.collect(made)
        times = [stream.contract.event_time for stream in self._graph.streams_of(name)]
        order = [time for time in times if time in rows.column_names][:1]
        return cast(pl.DataFrame, pl.from_arrow(newest(rows, views[name].entity, order_by=order)))

    def __contains__(self, name: object) -> bool:
        return name in self._graph.mill.features_views

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._graph.mill.features_views))

    def __len__(self) -> int:
        return len(self._graph.mill.features_views)

    def __repr__(self) -> str:
        views = self._graph.mill.features_views
        return "\n".join(f"{name}: by {views[name].entity}" for name in self)
