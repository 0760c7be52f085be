"""Materialisation of online data from the published tables: feature views, user histories, daily item counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import from_micros
from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Lease
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake import LakeSnapshot
from tidemill.lake.part_exchange import parts_of
from tidemill.loop.online.feature_metadata import declared
from tidemill.loop.online.feature_metadata_files import write_declared
from tidemill.loop.online.mend_online import begin_anew, online_damage, restore_recent
from tidemill.loop.online.view_rows import newest_batches
from tidemill.loop.project.declarations import FeatureViewDeclaration, RecommenderDeclaration
from tidemill.loop.project.graph import ColumnRoles, ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.serving.events.streams import ServedStream, write_streams
from tidemill.serving.live.fact_publication import write_fact_publication
from tidemill.serving.live.server_clock import replayed, set_replay
from tidemill.serving.recommend.user_history import recent_view

#: Number of days with daily counts of an item; older events only count in its total.
COUNTED_DAYS = 400
_DAY_US = 86_400_000_000
#: The format of online rows; a new number rebuilds all of them.
_FORM = 2


def materialise_online(
    stores: Stores,
    graph: ProjectGraph,
    lease: Lease,
    progress: Callable[[str, dict[str, Any]], None],
    notes: list[str] | None = None,
) -> list[str]:
    """Bring every view up to the newest publication; returns the names of the changed ones. Skips current views.

    Damaged views are made again; `notes` gets a sentence for each.
    """
    if stores.ledger.last("publish") is None:
        return []
    view = stores.lake.view()
    damage = online_damage(stores.latest)
    if "" in damage:
        begin_anew(stores.latest, damage[""])
    for name, why in damage.items():
        what = f"the view {name}" if name else "the online store"
        (notes if notes is not None else []).append(f"{what} was damaged and was made again: {why}")
    changed = []
    for features in graph.mill.features_views.values():
        version = _version(graph, view, features)
        if stores.latest.version(features.name) != version or features.name in damage:
            n = _materialise(stores, graph, view, features, version)
            _record(stores, lease, view, features.name, n, version, code=graph.codes[features.name])
            changed.append(features.name)
    for model in graph.mill.recommenders.values():
        version = fingerprint({"from": {model.interactions: view.versions[model.interactions]}, "days": COUNTED_DAYS})
        views = (f"{model.name}.history", f"{model.name}.items")
        if any(stores.latest.version(name) != version or name in damage for name in views):
            roles = graph.roles(model)
            counted = DailyItemCounts(roles.item, roles.time, _last_day(stores, view, model, roles) - COUNTED_DAYS)
            for name, key, apply in (
                (views[0], roles.subject, HistoryRows(roles.subject, roles.item, roles.time)),
                (views[1], roles.item, counted),
            ):
                n = _write(stores, name, key, _of_events(stores, view, model, roles, key, apply), version)
                _record(stores, lease, view, name, n, version)
                changed.append(name)
    if "" in damage:
        restore_recent(stores, graph)
    for stream in graph.mill.streams:
        stores.latest.drop_covered(recent_view(stream), _published_before(stores, stream, view))
    write_serving_metadata(stores, graph)
    write_fact_publication(stores.serving_root, view.publication, view.as_of)
    _advance(stores, view)
    if changed:
        progress("features", {"views": changed})
    return changed


def _advance(stores: Stores, view: LakeSnapshot) -> None:
    """Advance a replaying server to the publication; one on wall time, or ahead of it, is left alone."""
    stands, now = replayed(stores.serving_root), from_micros(view.as_of)
    if stands is not None and stands < now:
        set_replay(stores.serving_root, now)


def _published_before(stores: Stores, stream: str, view: LakeSnapshot) -> int:
    """The time before which all events posted to a stream are published, so that its recent events can be dropped.

    Events posted on or after a held day must still count as seen.
    """
    held = [state.increment.as_of for state in stores.lake.held_increments(stream)]
    return min([view.as_of, *(as_of - _DAY_US for as_of in held)])


def _version(graph: ProjectGraph, view: LakeSnapshot, features: FeatureViewDeclaration) -> str:
    """Fingerprint of everything a view's rows depend on: code, tables, known time, and for aggregates the boundary."""
    about: dict[str, Any] = {
        "code": graph.codes[features.name],
        "from": {name: view.versions[name] for name in features.inputs},
        "known": features.known,
        "form": _FORM,
    }
    if features.every_us is not None:
        about |= {"window": features.window_us, "boundary": view.as_of // features.every_us * features.every_us}
    elif any(stream.delay_days for stream in graph.streams_of(features.name)):
        about["as_of"] = view.as_of  # the rows of a backfill become known over time
    return fingerprint(about)


def _materialise(
    stores: Stores, graph: ProjectGraph, view: LakeSnapshot, features: FeatureViewDeclaration, version: str
) -> int:
    """Compute a feature view from the published tables and write the newest row of each entity; returns the count."""
    return _write(stores, features.name, features.entity, newest_batches(graph, view, features), version)


def _write(stores: Stores, name: str, key: str, rows: pa.RecordBatchReader, version: str) -> int:
    """Write a view to the online store in batches; returns the number of rows."""
    written = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal written
        for batch in rows:
            written += batch.num_rows
            yield batch

    stores.latest.write(name, key, pa.RecordBatchReader.from_batches(rows.schema, counted()), version)
    return written


def _record(
    stores: Stores, lease: Lease, view: LakeSnapshot, name: str, rows: int, version: str, code: str = ""
) -> None:
    """Append the ledger entry of a written view; `code` is the fingerprint of its function."""
    failpoint("features.written")
    stores.ledger.append(
        "features",
        about=f"view:{name}",
        refs_in=[f"table:{table}@{number}" for table, number in view.versions.items()],
        refs_out=[f"view:{name}@{version[:16]}"],
        fingerprint=version,
        details={"publication": view.publication, "rows": rows, **({"code": code[:12]} if code else {})},
        lease=lease,
    )
    failpoint("features.ledger")


def _last_day(stores: Stores, view: LakeSnapshot, model: RecommenderDeclaration, roles: ColumnRoles) -> int:
    """The day of the last event, as its number since 1970; 0 without events."""
    found = stores.engine.collect(view.scan(model.interactions).select(nw.col(roles.time).max()))
    last = found[roles.time].cast(pa.int64())[0].as_py()
    return 0 if last is None else int(last // _DAY_US)


def _of_events(
    stores: Stores,
    view: LakeSnapshot,
    model: RecommenderDeclaration,
    roles: ColumnRoles,
    key: str,
    apply: HistoryRows | DailyItemCounts,
) -> pa.RecordBatchReader:
    """What `apply` makes of all interactions of each `key`, computed by the engine while it is read."""
    schema = view.schema(model.interactions)
    names = [roles.subject, roles.item, roles.time, *(["_row"] if "_row" in schema.names else [])]
    made = apply(empty_table(pa.schema([schema.field(name) for name in names]))).schema
    frame = stores.engine.map_parts(
        [view.scan(model.interactions).select(*names)], [key], parts_of(view.rows(model.interactions)), apply, made
    )
    batches = (batch for rows in stores.engine.batches(frame) for batch in rows.cast(made).to_batches())
    return pa.RecordBatchReader.from_batches(made, batches)


@dataclass(frozen=True)
class HistoryRows:
    """One row per user: the items, oldest first, and their times (microseconds)."""

    user: str
    item: str
    time: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        order = [self.user, self.time, *(["_row"] if "_row" in rows.column_names else [])]
        rows = rows.sort_by([(column, "ascending") for column in order])
        users = rows[self.user].combine_chunks()
        codes = users.dictionary_encode().indices.to_numpy()
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
        offsets = pa.array(np.r_[starts, len(codes)].astype(np.int32))
        items = pa.ListArray.from_arrays(offsets, rows[self.item].combine_chunks())
        times = pa.ListArray.from_arrays(offsets, rows[self.time].cast(pa.int64()).combine_chunks())
        return pa.table({self.user: users.take(pa.array(starts)), "items": items, "times": times})


@dataclass(frozen=True)
class DailyItemCounts:
    """One row per item: events of all time, and events on each day after `before` with any."""

    item: str
    time: str
    #: A day's number since 1970.
    before: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        encoded = rows[self.item].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy()
        days = rows[self.time].cast(pa.int64()).to_numpy() // _DAY_US
        n = len(encoded.dictionary)
        totals = np.bincount(codes, minlength=n)
        recent = days > self.before
        pairs, times = np.unique(np.stack([codes[recent], days[recent]]), axis=1, return_counts=True)
        offsets = pa.array(np.searchsorted(pairs[0], np.arange(n + 1)).astype(np.int32))
        return pa.table(
            {
                self.item: encoded.dictionary,
                "n_all": pa.array(totals.astype(np.int64)),
                "days": pa.ListArray.from_arrays(offsets, pa.array(pairs[1].astype(np.int32))),
                "counts": pa.ListArray.from_arrays(offsets, pa.array(times.astype(np.int32))),
            }
        )


def write_serving_metadata(stores: Stores, graph: ProjectGraph) -> None:
    """Write the contracts of the streams and the models that each stream feeds, for the server; and the declared
    features, for the console.
    """
    write_declared(stores.serving_root, declared(graph))
    write_streams(
        stores.serving_root,
        {
            name: ServedStream(contract=stream.contract, feeds=graph.fed_models(name))
            for name, stream in graph.mill.streams.items()
        },
        stores.keys,
    )
