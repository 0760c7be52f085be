"""Training examples of a tabular model: rows of one publication, point-in-time joined features, on-demand features.

The same code and the same publication always give the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.contract.contract import ROW
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import FunctionFailed, RowsLost, TargetUnfit, TooLittleData
from tidemill.core.kinds import KINDS, Kind, arrow_type, kind_of_arrow
from tidemill.core.records.signature import InputField, OnDemandFeature, Task
from tidemill.features.engine_join import HistoryJoin, point_in_time_frame
from tidemill.features.feature_history import ViewHistory, history_frame
from tidemill.features.frame_schema import frame_schema
from tidemill.lake import LakeSnapshot
from tidemill.lake.part_exchange import parts_of
from tidemill.loop.examples.example_sample import sample_examples
from tidemill.loop.online.view_rows import view_spec
from tidemill.loop.project.declarations import FeatureViewDeclaration, TabularDeclaration
from tidemill.loop.project.graph import ProjectGraph, naming_function
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.on_demand_arrays import array_of_column

#: An integer target with a median up to this is a count; above, it is a measure.
_COUNTED = 20


#: Memory of a training for a value of its inputs: 49 were measured with LightGBM, 300,000 rows and 20 numbers; the
#: rest is for the rows that are read.
CELL_BYTES = 80


def examples_memory_bytes(graph: ProjectGraph, view: LakeSnapshot, asking: SignatureSpec) -> int:
    """About the memory that a training on a model's examples takes, from the numbers of rows in manifests."""
    name = asking.model.examples
    features = graph.mill.features_views.get(name)
    tables = (name,) if features is None else features.inputs
    rows = max(view.rows(table) for table in tables) * asking.model.sample
    return round(rows * (len(asking.inputs) + 1) * CELL_BYTES)


def build_examples(graph: ProjectGraph, view: LakeSnapshot, asking: SignatureSpec) -> Examples:
    """The training examples of a model: the rows of the publication with a known target.

    Raises `TooLittleData` if there are none, and `TargetUnfit` if the target does not fit the task.
    """
    model = asking.model
    rows = joined_rows(graph, view, asking)
    if not rows.num_rows:
        raise TooLittleData(f"{model.examples!r} has no row with a value of the target {model.target!r} to train on")
    task, classes = task_of(model, rows[model.target], asking.columns.kinds[model.target])
    time = asking.columns.time
    attributes = list(dict.fromkeys([*model.slices, *model.fairness]))
    return Examples(
        fields=asking.inputs,
        inputs=typed(rows, asking.inputs),
        target=encoded_target(model, rows[model.target], task, classes),
        task=task,
        classes=classes,
        time=None if time is None else rows[time].cast(pa.int64()).to_numpy(),
        group=None if model.group is None else _codes(rows[model.group]),
        attributes=rows.select(attributes).cast(pa.schema([(name, pa.string()) for name in attributes])),
        target_name=model.target,
        row=rows[ROW].to_numpy() if ROW in rows.column_names else np.arange(rows.num_rows),
    )


def joined_rows(graph: ProjectGraph, view: LakeSnapshot, asking: SignatureSpec) -> pa.Table:
    """All rows of the examples with a time and a target, with every lookup joined as of its time and all on-demand
    features; in a total order, the same on every engine.

    The engine joins them: of the views' histories, only the joined columns come to this process. Raises `RowsLost` if
    there are other rows than before the join.
    """
    engine = graph.engine
    with naming_function(f"the examples of {asking.model.name!r}"):
        frame = example_frame(graph, view, asking)
        schema = frame_schema(engine, frame)
        time = nw.col(asking.columns.time).max().alias("end") if asking.columns.time else nw.lit(None).alias("end")
        count = engine.collect(frame.select(nw.len().alias("rows"), time))
        parts = parts_for(graph, view, asking)
        if asking.lookups and asking.columns.time is not None:
            end = count["end"].cast(pa.int64())[0].as_py() or 0
            frame, schema = with_lookups(graph, view, asking, frame, schema, end=end, parts=parts)
        rows = pa.concat_tables([empty_table(schema), *engine.batches(frame)])
    if rows.num_rows != count["rows"][0].as_py():
        raise RowsLost(f"the join returned {rows.num_rows} rows for {count['rows'][0]} examples")
    return with_functions(graph, asking, in_order(asking, rows))


def example_frame(graph: ProjectGraph, view: LakeSnapshot, asking: SignatureSpec) -> nw.LazyFrame[Any]:
    """The rows of the examples, or of a declared sample of them, with a time and a target, and with the columns that a
    training reads.
    """
    model, time = asking.model, asking.columns.time
    features = graph.mill.features_views.get(model.examples)
    frame = view.scan(model.examples) if features is None else _made(graph, view, features)
    present = frame.collect_schema().names()
    read = {model.target, *model.slices, *model.fairness, *(field.name for field in (*asking.request, *asking.inputs))}
    read |= {name for name in (time, model.group, ROW) if name is not None}
    if ROW not in present:
        read |= set(asking.columns.kinds)  # they decide the order of rows
    frame = frame.select(*(name for name in present if name in read))
    required = dict.fromkeys([model.target] if time is None else [model.target, time])
    frame = frame.filter(*(~nw.col(name).is_null() for name in required))
    return sample_examples(graph.engine, frame, model, parts_for(graph, view, asking))


def in_order(asking: SignatureSpec, rows: pa.Table) -> pa.Table:
    """The rows by time, arrival and all other columns: a total order."""
    time = asking.columns.time
    first = [column for column in (time, ROW) if column is not None and column in rows.column_names]
    rest = [] if ROW in rows.column_names else sorted(set(asking.columns.kinds) - set(first))
    return rows.sort_by([(column, "ascending") for column in (*first, *rest)]) if first or rest else rows


def _made(graph: ProjectGraph, view: LakeSnapshot, features: FeatureViewDeclaration) -> nw.LazyFrame[Any]:
    frames = {table: view.scan(table) for table in features.inputs}
    with naming_function(f"features {features.name!r}"):
        made: nw.LazyFrame[Any] = features.function(**frames)
    return made


def parts_for(graph: ProjectGraph, view: LakeSnapshot, asking: SignatureSpec) -> int:
    """How many parts the examples of a model are joined in, from the numbers of rows in manifests."""
    views = graph.mill.features_views
    names = [asking.model.examples, *(lookup.view for lookup in asking.lookups)]
    tables = {table for name in names for table in (views[name].inputs if name in views else (name,))}
    return parts_of(max(view.rows(table) for table in tables))


def with_lookups(
    graph: ProjectGraph,
    view: LakeSnapshot,
    asking: SignatureSpec,
    frame: nw.LazyFrame[Any],
    schema: pa.Schema,
    *,
    end: int,
    parts: int,
) -> tuple[nw.LazyFrame[Any], pa.Schema]:
    """A frame of examples up to `end` (microseconds) with every lookup joined as of its time, in `parts` parts."""
    time = asking.columns.time
    if time is None:
        return frame, schema
    joins = [
        HistoryJoin(
            history(graph, view, lookup.view, end, parts),
            view_spec(graph, graph.mill.features_views[lookup.view]),
            by=lookup.entity,
            columns=lookup.columns,
        )
        for lookup in asking.lookups
    ]
    return point_in_time_frame(graph.engine, frame, schema, time=time, joins=joins, parts=parts)


def history(graph: ProjectGraph, view: LakeSnapshot, name: str, end: int, parts: int = 1) -> ViewHistory:
    """Every value of a view up to `end` (microseconds), computed from the tables of the publication."""
    features = graph.mill.features_views[name]
    frames = {table: view.scan(table) for table in features.inputs}
    with naming_function(f"features {name!r}"):
        return history_frame(view_spec(graph, features), frames, graph.engine, start=None, end=end, parts=parts)


def with_functions(graph: ProjectGraph, asking: SignatureSpec, rows: pa.Table) -> pa.Table:
    """`rows` with all on-demand features; same rows, same order."""
    for computed in asking.computed:
        rows = _computed(rows, computed, graph.mill.on_demands[computed.function].function)
    return rows


def _computed(rows: pa.Table, computed: OnDemandFeature, function: Any) -> pa.Table:
    kinds = [kind_of_arrow(rows.schema.field(name).type) for name in computed.takes]
    given = function(
        *(array_of_column(rows[name], kind or "str") for name, kind in zip(computed.takes, kinds, strict=True))
    )
    for field in computed.gives:
        values = np.asarray(given[field.name])
        if values.shape != (rows.num_rows,):
            raise FunctionFailed(
                f"on-demand features {computed.function!r}: {field.name!r} has the shape {values.shape} for "
                f"{rows.num_rows} rows",
                tip="return one value for each row",
            )
        rows = rows.append_column(field.name, as_column(values, field))
    return rows


def as_column(values: NDArray[Any], field: InputField) -> pa.Array:
    """The result of an on-demand function as a column of its field's kind; NaN and NaT are missing."""
    column = pa.array(values, from_pandas=True)
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    return column.cast(arrow_type(field.kind))


def typed(rows: pa.Table, fields: Sequence[InputField]) -> pa.Table:
    """The columns of `fields`, in their order and of their kinds."""
    return pa.table({field.name: rows[field.name].cast(arrow_type(field.kind)) for field in fields})


def task_of(model: TabularDeclaration, target: pa.ChunkedArray, kind: Kind) -> tuple[Task, tuple[str, ...]]:
    """The task, inferred from the target unless the model declares it, and the classes.

    Two values are a binary task, texts are classes, small non-negative integers are counts, all else is a number.
    """
    distinct = _names(pc.unique(target.combine_chunks()))
    task = model.task or _guessed(target, kind, len(distinct))
    if task in ("number", "count"):
        if kind not in ("float", "int", "bool"):
            raise TargetUnfit(
                f"model {model.name!r}: the task {task!r} needs numbers, and its target {model.target!r} is "
                f"{KINDS[kind].words}"
            )
        if task == "count" and (pc.min(target.cast(pa.float64(), safe=False)).as_py() or 0) < 0:
            raise TargetUnfit(
                f"model {model.name!r}: its target {model.target!r} has negative values, which are not counts"
            )
        return task, ()
    if task == "binary" and len(distinct) != 2:
        raise TargetUnfit(
            f"model {model.name!r}: its target {model.target!r} has {len(distinct)} values; a binary task needs two",
            tip='leave `task=` out, or write task="classes"',
        )
    if len(distinct) < 2:
        raise TargetUnfit(f"model {model.name!r}: its target {model.target!r} has only one value: {distinct}")
    if model.task is None and len(distinct) > max(2, len(target) / 2):
        raise TargetUnfit(
            f"model {model.name!r}: its target {model.target!r} has {len(distinct):,} values in {len(target):,} rows: "
            "it looks like an ID column, which cannot be predicted",
            tip='name another target, or write task="classes"',
        )
    return task, _ordered(model, distinct) if task == "binary" else tuple(distinct)


def _guessed(target: pa.ChunkedArray, kind: Kind, distinct: int) -> Task:
    if distinct == 2:
        return "binary"
    if kind in ("str", "bool"):
        return "classes"
    if kind == "int" and pc.min(target).as_py() >= 0 and np.median(target.to_numpy()) <= _COUNTED:
        return "count"
    return "number"


def _ordered(model: TabularDeclaration, classes: list[str]) -> tuple[str, ...]:
    """Both classes, the positive one second: the declared one, else the last in sort order (Yes, true, 1)."""
    if model.positive is None:
        return tuple(classes)
    if model.positive not in classes:
        raise TargetUnfit(f"model {model.name!r}: positive={model.positive!r} is not one of {', '.join(classes)}")
    return (*(name for name in classes if name != model.positive), model.positive)


def encoded_target(
    model: TabularDeclaration, target: pa.ChunkedArray, task: Task, classes: Sequence[str]
) -> NDArray[np.float64]:
    """float64 (n): the number of the class, or the value."""
    if task in ("number", "count"):
        values: NDArray[np.float64] = target.cast(pa.float64(), safe=False).to_numpy()
        return values
    places: Mapping[str, int] = {name: place for place, name in enumerate(classes)}
    encoded = target.combine_chunks().dictionary_encode()
    table = np.array([places[name] for name in _names(encoded.dictionary, ordered=False)], np.float64)
    codes: NDArray[np.int64] = encoded.indices.to_numpy()
    return table[codes]


def _names(values: pa.Array, *, ordered: bool = True) -> list[str]:
    """The values of a target as the names of classes."""
    plain = values.to_pylist()
    if ordered:
        plain = sorted(value for value in plain if value is not None)
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in plain]


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    indices = pc.fill_null(column.combine_chunks().dictionary_encode().indices, -1)
    codes: NDArray[np.int64] = indices.to_numpy().astype(np.int64)
    return codes
