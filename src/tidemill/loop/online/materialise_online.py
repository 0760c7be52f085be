"""Materialisation of online data from the published tables: feature views, user histories, daily item counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import from_micros
from tidemill.core.ports import Lease
from tidemill.core.storage.failpoint import failpoint
from tidemill.features import FeatureView, materialise
from tidemill.lake import LakeSnapshot
from tidemill.loop.online.feature_metadata import declared
from tidemill.loop.online.feature_metadata_files import write_declared
from tidemill.loop.online.mend_online import begin_anew, online_damage, restore_recent
from tidemill.loop.online.view_rows import newest_rows
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
            rows = _events(stores, view, model, roles)
            for name, key, kept in (
                (views[0], roles.subject, _histories(rows, roles)),
                (views[1], roles.item, _counts(rows, roles)),
            ):
                stores.latest.write(name, key, kept, version)
                _record(stores, lease, view, name, kept.num_rows, version)
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
    rows = newest_rows(graph, view, features)
    columns = tuple(name for name in rows.column_names if name != features.entity)
    feature_view = FeatureView(name=features.name, entity=features.entity, columns=columns)
    return materialise(stores.latest, feature_view, rows, version)


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


def _events(stores: Stores, view: LakeSnapshot, model: RecommenderDeclaration, roles: ColumnRoles) -> pa.Table:
    """The interactions, by user, time and arrival: a total order, the same on every engine."""
    columns = [roles.subject, roles.item, roles.time]
    order = [*columns[:1], roles.time]
    schema = view.schema(model.interactions)
    if "_row" in schema.names:
        columns.append("_row")
        order.append("_row")
    rows = view.arrow(model.interactions, columns=columns)
    return rows.sort_by([(column, "ascending") for column in order])


def _histories(rows: pa.Table, roles: ColumnRoles) -> pa.Table:
    """One row per user: the items, oldest first, and their times (microseconds)."""
    users = rows[roles.subject].combine_chunks()
    plain = users.dictionary_encode()
    codes = plain.indices.to_numpy()
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
    offsets = pa.array(np.r_[starts, len(codes)].astype(np.int32))
    items = pa.ListArray.from_arrays(offsets, rows[roles.item].combine_chunks())
    times = pa.ListArray.from_arrays(offsets, rows[roles.time].cast(pa.int64()).combine_chunks())
    return pa.table({roles.subject: users.take(pa.array(starts)), "items": items, "times": times})


def _counts(rows: pa.Table, roles: ColumnRoles) -> pa.Table:
    """One row per item: events of all time, and events on each of the last days with any."""
    encoded = rows[roles.item].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    days = rows[roles.time].cast(pa.int64()).to_numpy() // _DAY_US
    n = len(encoded.dictionary)
    totals = np.bincount(codes, minlength=n)
    recent = days > (days.max() if len(days) else 0) - COUNTED_DAYS
    pairs, times = np.unique(np.stack([codes[recent], days[recent]]), axis=1, return_counts=True)
    offsets = pa.array(np.searchsorted(pairs[0], np.arange(n + 1)).astype(np.int32))
    return pa.table(
        {
            roles.item: encoded.dictionary,
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
