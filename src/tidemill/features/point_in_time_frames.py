"""Point-in-time join as table expressions, for examples and views that are larger than one machine.

The same rule as `point_in_time_join`, tested for equality on Polars and Spark. Narwhals has no as-of join on Spark, so
the requested times are merged with the times at which facts became visible, and each takes the last fact before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import narwhals as nw

from tidemill.core.contract.contract import KNOWN_AT, ROW
from tidemill.core.errors import GraphError
from tidemill.features.value_intervals import AT, UNTIL

_ENTITY, _VISIBLE, _ASKED, _BEST, _STAMP, _LAST = (
    f"_tm_{name}" for name in ("entity", "visible", "asked", "best", "stamp", "last")
)

Frame = nw.LazyFrame[Any]


def join_frames(
    examples: Frame,
    rows: Frame,
    *,
    time: str,
    entity: str,
    by: str,
    columns: Mapping[str, str],
    ttl_us: int | None = None,
    known: Literal["known", "event"] = "known",
    boundaries: tuple[int, int] | None = None,
) -> Frame:
    """The examples with the view's column values at each example's `time`; as many rows, in no defined order.

    `time`, `_at`, `_known_at` and `_until` are int64 microseconds. Values are null where missing or past `ttl_us`.
    `boundaries`, for value intervals of aggregates: the distance of boundaries and the last one
    (`PointInTimeJoin.boundaries`); `GraphError` where value intervals are joined without it.
    """
    has_intervals = UNTIL in rows.collect_schema().names()
    if has_intervals and boundaries is None:
        raise GraphError("the facts are value intervals", tip="pass boundaries=(every_us, last_at) to join_frames")
    facts = _facts(rows, entity, AT if has_intervals or known == "event" else KNOWN_AT)
    kept = {f"_tm_{number}": column for number, column in enumerate(columns.values())}
    values = {new: nw.col(old) for new, old in kept.items()} | {_STAMP: nw.col(UNTIL if has_intervals else AT)}
    joined = examples.join(
        _latest(examples, facts, time, by), left_on=[by, time], right_on=[_ENTITY, _ASKED], how="left"
    )
    values_by_key = facts.select(_ENTITY, _VISIBLE, **values)
    joined = joined.join(values_by_key, left_on=[by, _VISIBLE], right_on=[_ENTITY, _VISIBLE], how="left")
    in_force = _in_force(nw.col(time), ttl_us, boundaries if has_intervals else None)
    outputs = {name: nw.when(in_force).then(nw.col(new)) for name, new in zip(columns, kept, strict=True)}
    return joined.select(*examples.collect_schema().names(), **outputs)


def _facts(rows: Frame, entity: str, when: str) -> Frame:
    """The facts that can be used, one for each entity and time at which one became visible."""
    names = rows.collect_schema().names()
    facts = rows.drop_nulls(list({entity, AT, when})).with_columns(
        nw.col(entity).alias(_ENTITY), nw.max_horizontal(AT, when).alias(_VISIBLE)
    )
    order = [AT, when, *([ROW] if ROW in names else []), *sorted(names)]
    facts = facts.unique([_ENTITY, _VISIBLE], keep="last", order_by=list(dict.fromkeys(order)))
    best = nw.col(AT).cum_max().over(_ENTITY, order_by=_VISIBLE)
    return facts.with_columns(best.alias(_BEST)).filter(nw.col(AT) >= nw.col(_BEST))


def _latest(examples: Frame, facts: Frame, time: str, by: str) -> Frame:
    """For each requested entity and time: when the current fact became visible; null where there is none."""
    requested = examples.select(nw.col(by).alias(_ENTITY), nw.col(time).alias(_ASKED)).drop_nulls().unique()
    none = nw.when(nw.lit(False)).then(nw.col(_ASKED))  # a null of the right type, on every engine
    merged = nw.concat(
        [
            facts.select(_ENTITY, nw.col(_VISIBLE).alias(_ASKED), _VISIBLE, nw.lit(0).alias(_LAST)),
            requested.with_columns(none.alias(_VISIBLE), nw.lit(1).alias(_LAST)),
        ]
    )
    filled = nw.col(_VISIBLE).fill_null(strategy="forward").over(_ENTITY, order_by=[_ASKED, _LAST])
    return merged.with_columns(filled.alias(_VISIBLE)).filter(nw.col(_LAST) == 1).drop(_LAST)


def _in_force(time: nw.Expr, ttl_us: int | None, boundaries: tuple[int, int] | None) -> nw.Expr:
    """Whether the joined fact is still valid: its interval includes the boundary, and it is not past its ttl."""
    stamp = nw.col(_STAMP)
    counts = ~stamp.is_null()
    if boundaries is not None:
        every_us, last_at = boundaries
        boundary = time - (time % every_us + every_us) % every_us  # before 1970 engines differ in what % gives
        boundary = nw.when(boundary < last_at).then(boundary).otherwise(last_at)
        counts = counts & (boundary <= stamp)
        stamp = boundary
    return counts & (time - stamp <= ttl_us) if ttl_us is not None else counts
