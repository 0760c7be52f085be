"""Training-serving skew report: logged features compared with the point-in-time join of the published tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import NoSuchRelease, UnknownName, nearest
from tidemill.core.records.release import Release
from tidemill.core.records.signature import FeatureLookup
from tidemill.features import PointInTimeJoin, point_in_time
from tidemill.features.feature_history import ViewHistory, history_frame
from tidemill.features.online_lookup import names_of
from tidemill.features.skew import FeatureSkew, skew
from tidemill.features.value_intervals import AT, UNTIL
from tidemill.feedback import current_predictions, prediction_schema
from tidemill.lake import LakeSnapshot
from tidemill.lake.part_exchange import parts_of
from tidemill.loop.online.feature_metadata_files import SkewReport
from tidemill.loop.online.view_rows import view_spec
from tidemill.loop.project.graph import ProjectGraph, naming_function
from tidemill.loop.project.stores import Stores

#: Number of newest predictions to compare.
MOST = 20_000


def skew_report(stores: Stores, graph: ProjectGraph, model: str, *, most: int = MOST) -> SkewReport:
    """Compare the newest logged predictions of `model` with the point-in-time join of the newest publication.

    A fact counts from its known time, so a fact that arrived after a prediction is not skew. Raises `UnknownName` for
    an unknown tabular model, and `NoSuchRelease` without a champion.
    """
    release = _live(stores, graph, model)
    return compared(graph, stores.lake.view(), release, _predictions(stores, release, most))


def compared(graph: ProjectGraph, view: LakeSnapshot, release: Release, rows: pa.Table) -> SkewReport:
    """The skew of logged predictions of `release` (rows of the prediction table) against one publication."""
    lookups = release.signature.lookups if release.signature else ()
    views = {name: called for called, one in zip(names_of(lookups), lookups, strict=True) for name in one.columns}
    found: tuple[FeatureSkew, ...] = ()
    if rows.num_rows and lookups:
        recomputed = _recomputed(graph, view, _asked(rows, lookups), lookups)
        found = skew(_logged(rows, recomputed, views), recomputed, views)
    times = rows["as_of"].cast(pa.int64()).to_pylist()
    return SkewReport(
        model=release.model,
        release=release.name,
        publication=view.publication,
        predictions=len(times),
        first=min(times, default=None),
        last=max(times, default=None),
        features=found,
    )


def _live(stores: Stores, graph: ProjectGraph, model: str) -> Release:
    if model not in graph.askings:
        raise UnknownName(f"there is no tabular model {model!r}", tip=nearest(model, graph.askings))
    release = stores.releases.champion(model)
    if release is None:
        raise NoSuchRelease(f"{model} has no champion", tip=f"tidemill promote {model}@1")
    return release


def _predictions(stores: Stores, release: Release, most: int) -> pa.Table:
    """The newest logged predictions of releases with the same lookups."""
    rows = stores.lake.log("predictions")
    if rows is None or release.signature is None:
        return empty_table(prediction_schema())
    rows = current_predictions(rows)
    alike = [
        one.name
        for one in stores.releases.all(release.model)
        if one.signature is not None and one.signature.lookups == release.signature.lookups
    ]
    kept = pc.and_(pc.is_in(rows["release"], value_set=pa.array(alike)), pc.not_equal(rows["features"], ""))
    rows = rows.filter(kept).sort_by([("served_at", "descending"), ("prediction_id", "ascending")])
    return rows.slice(0, most)


def _asked(rows: pa.Table, lookups: Sequence[FeatureLookup]) -> pa.Table:
    """One example per prediction: its id, its time, and the entity of each lookup."""
    columns: dict[str, Any] = {"prediction_id": rows["prediction_id"], "as_of": rows["as_of"].cast(pa.int64())}
    inputs = [one.get("inputs", {}) for one in _logged_features(rows)]
    contexts = [msgspec.json.decode(text) if text else {} for text in rows["context"].to_pylist()]
    for entity in dict.fromkeys(one.entity for one in lookups):
        keys = [
            given.get(entity, more.get(entity, subject or None))
            for given, more, subject in zip(inputs, contexts, rows["subject"].to_pylist(), strict=True)
        ]
        columns[f"{entity}.key"] = pa.array([None if key is None else str(key) for key in keys], pa.string())
    return pa.table(columns)


def _recomputed(
    graph: ProjectGraph, view: LakeSnapshot, questions: pa.Table, lookups: Sequence[FeatureLookup]
) -> pa.Table:
    end = int(pc.max(questions["as_of"]).as_py())
    joined = questions
    for called, lookup in zip(names_of(lookups), lookups, strict=True):
        features = graph.mill.features_views[lookup.view]
        spec = view_spec(graph, features)
        frames = {table: view.scan(table) for table in features.inputs}
        by, parts = f"{lookup.entity}.key", parts_of(max(view.rows(table) for table in features.inputs))
        with naming_function(f"features {features.name!r}"):
            history = history_frame(spec, frames, graph.engine, start=None, end=end, parts=parts)
            facts = history.read(graph.engine.collect(_of_entities(graph, history, spec.entity, joined[by])))
        columns = {**lookup.columns, f"{called}.at": AT}
        if spec.every_us is not None:
            columns[f"{called}.until"] = UNTIL
        join = PointInTimeJoin(facts, spec.entity, by, columns, lookup.ttl_us, view=called, known=features.known)
        joined = point_in_time(joined, time="as_of", joins=[join])
        if spec.every_us is not None:
            joined = _at_boundary(joined, called, spec.every_us)
    return joined


def _of_entities(graph: ProjectGraph, history: ViewHistory, entity: str, keys: pa.ChunkedArray) -> nw.LazyFrame[Any]:
    """The rows of the entities in `keys`: of a large view, others need not come to this process."""
    if history.facts.field(entity).type != keys.type:  # refused by the join
        return history.frame
    asked = pa.table({entity: pc.drop_null(pc.unique(keys))})
    return history.frame.join(graph.engine.frame(asked), on=[entity], how="semi")


def _at_boundary(rows: pa.Table, called: str, every_us: int) -> pa.Table:
    """For aggregates, `<view>.at` as the effective boundary: the last one that the interval reaches."""
    as_of = rows["as_of"].to_numpy()
    until = rows[f"{called}.until"]
    boundary = np.minimum(as_of - as_of % every_us, pc.fill_null(until, 0).to_numpy())
    boundaries = pa.array(boundary, mask=pc.is_null(until).to_numpy())
    name = f"{called}.at"
    return rows.set_column(rows.column_names.index(name), name, boundaries).drop_columns([f"{called}.until"])


def _logged(rows: pa.Table, recomputed: pa.Table, views: Mapping[str, str]) -> pa.Table:
    """The logged values of the same columns, converted to the types of the recomputed ones if possible."""
    logged = _logged_features(rows)
    made: dict[str, Any] = {name: recomputed[name] for name in ("prediction_id", "as_of")}
    for feature in views:
        made[feature] = _typed([one.get("inputs", {}).get(feature) for one in logged], recomputed[feature].type)
    for called in dict.fromkeys(views.values()):
        made[f"{called}.at"] = pa.array([one.get("at", {}).get(called) for one in logged], pa.int64())
    return pa.table(made)


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError):  # another type than in the tables: every present value differs
        return pa.array([None if value is None else msgspec.json.encode(value).decode() for value in values])


def _logged_features(rows: pa.Table) -> list[dict[str, Any]]:
    return [msgspec.json.decode(text) for text in rows["features"].to_pylist()]
