"""Polars frames of the tables and feature views of one snapshot; later publications do not change them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import polars as pl

from tidemill.core.errors import UnknownName, nearest
from tidemill.features.value_intervals import AT
from tidemill.lake import LakeSnapshot
from tidemill.loop.online.view_rows import newest_rows
from tidemill.loop.project.graph import ProjectGraph


class SnapshotTables(Mapping[str, pl.DataFrame]):
    """Table name -> its rows, without the lake's own columns."""

    def __init__(self, view: LakeSnapshot) -> None:
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


class SnapshotFeatures(Mapping[str, pl.DataFrame]):
    """Feature view -> the newest row of each entity, computed from the publication as for online serving.

    For aggregates, `_at` is their boundary, microseconds.
    """

    def __init__(self, view: LakeSnapshot, graph: ProjectGraph) -> None:
        self._view, self._graph = view, graph

    def __getitem__(self, name: str) -> pl.DataFrame:
        views = self._graph.mill.features_views
        if name not in views:
            raise UnknownName(f"there is no feature view {name!r}", tip=nearest(name, views))
        rows = newest_rows(self._graph, self._view, views[name])
        return cast(pl.DataFrame, pl.from_arrow(rows if views[name].every_us is not None else rows.drop_columns([AT])))

    def __contains__(self, name: object) -> bool:
        return name in self._graph.mill.features_views

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._graph.mill.features_views))

    def __len__(self) -> int:
        return len(self._graph.mill.features_views)

    def __repr__(self) -> str:
        views = self._graph.mill.features_views
        return "\n".join(f"{name}: by {views[name].entity}" for name in self)
