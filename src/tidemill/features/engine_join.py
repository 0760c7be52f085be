"""Point-in-time join on the engine: in parts by entity, each by the join in memory.

All facts of an entity and all examples of it are in one part, so the result does not depend on the number of parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.core.contract.contract import ROW
from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine
from tidemill.features.feature_facts import entities_as
from tidemill.features.feature_history import ViewHistory
from tidemill.features.point_in_time_join import PointInTimeJoin, point_in_time
from tidemill.features.view_spec import ViewSpec

_KEY = "_tm_entity"


@dataclass(frozen=True)
class HistoryJoin:
    """One view to join to a frame: its history, the entity column of the examples, and the columns to take."""

    history: ViewHistory
    spec: ViewSpec
    by: str
    #: New column -> the view's column.
    columns: Mapping[str, str]


@dataclass(frozen=True)
class JoinOfPart:
    """Joins some rows of a history's frame to some examples. It can be pickled: no frame and no function is in it."""

    read: Callable[[pa.Table], pa.Table]
    #: The arguments of `PointInTimeJoin` besides its rows.
    rule: Mapping[str, Any]
    time: str

    @classmethod
    def from_join(cls, join: HistoryJoin, time: str) -> JoinOfPart:
        """Of one view."""
        spec = join.spec
        rule = {"entity": spec.entity, "by": join.by, "columns": dict(join.columns), "ttl_us": spec.ttl_us}
        return cls(join.history.read, rule | {"view": spec.name, "known": spec.known}, time)

    def with_rows(self, facts: pa.Table) -> PointInTimeJoin:
        """The join in memory."""
        return PointInTimeJoin(self.read(facts), **self.rule)

    def __call__(self, examples: pa.Table, facts: pa.Table) -> pa.Table:
        examples, facts = examples.drop_columns([_KEY]), facts.drop_columns([_KEY])
        return point_in_time(examples, time=self.time, joins=[self.with_rows(facts)])


def point_in_time_frame(
    engine: Engine,
    examples: nw.LazyFrame[Any],
    schema: pa.Schema,
    *,
    time: str,
    joins: Sequence[HistoryJoin],
    parts: int,
) -> tuple[nw.LazyFrame[Any], pa.Schema]:
    """What `point_in_time` returns for a frame of examples with `schema`, in any order, and its schema.

    One part is joined at once, in memory, if the engine is in this process. Raises errors as `point_in_time` does, and
    `TypeMismatch` if an entity of the examples has another type than that of the view.
    """
    applied = [JoinOfPart.from_join(join, time) for join in joins]
    if parts == 1 and engine.in_process:
        made = [one.with_rows(engine.collect(join.history.frame)) for one, join in zip(applied, joins, strict=True)]
        rows = point_in_time(engine.collect(examples), time=time, joins=made)
        return engine.frame(rows), rows.schema
    for one, join in zip(applied, joins, strict=True):
        frame, facts = join.history.frame, join.history.facts
        kind = facts.field(join.spec.entity).type
        none = [empty_table(of.append(pa.field(_KEY, kind))) for of in (schema, facts)]
        made_schema = one(*none).schema
        entities_as(none[0][join.by], kind)
        key = nw.col(join.by).cast(_dtype(kind))
        if ROW in schema.names:  # examples without an entity are not all in one part
            key = nw.coalesce(key, nw.col(ROW).cast(_dtype(kind)))
        sides = [
            examples.with_columns(key.alias(_KEY)),
            frame.with_columns(nw.col(join.spec.entity).cast(_dtype(kind)).alias(_KEY)),
        ]
        examples, schema = engine.map_parts(sides, [_KEY], parts, one, made_schema), made_schema
    return examples, schema


def _dtype(kind: pa.DataType) -> Any:
    """The type in which entities of both sides are equal; `collect` gives no other types of texts and integers."""
    return nw.Int64 if pa.types.is_integer(kind) else nw.String
