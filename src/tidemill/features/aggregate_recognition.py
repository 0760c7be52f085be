"""Recognition of aggregate views (counts, sums and means only), by running the function on a recording frame.

Recognised are functions of one input: row-wise steps (`filter`, `with_columns`, `select`, `rename`, `drop`,
`drop_nulls`), then one `group_by(entity).agg(…)` of `nw.len()`, and of `len`, `count`, `sum` and `mean` of such
expressions, then row-wise steps again. Such a view can be updated incrementally as rows enter and leave the window.
Any other form is not recognised: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import narwhals as nw

from tidemill.features.view_spec import ViewSpec

Total = Literal["len", "count", "sum", "mean"]
#: A step on a frame; it also keeps the named columns.
Step = Callable[[Any, Sequence[str]], Any]

_ROW_WISE = ("COL", "ELEMENTWISE", "LITERAL", "WHEN_THEN")
_TOTALS = get_args(Total)


class _Unknown(Exception):
    """The function does something that is not recognised."""


@dataclass(frozen=True)
class AggregateMeasure:
    """One aggregate over the rows of a window, and the column that it is written to."""

    column: str
    total: Total
    #: The aggregated expression over the rows; `None` for `len`.
    value: nw.Expr | None


@dataclass(frozen=True)
class AggregateView:
    """A view in three stages: row-wise steps before the aggregates, the aggregates, row-wise steps after them."""

    source: str
    before: tuple[Step, ...]
    measures: tuple[AggregateMeasure, ...]
    after: tuple[Step, ...]


def recognise_aggregates(spec: ViewSpec) -> AggregateView | None:
    """The aggregate form of a view's function, or `None` where the function is not recognised."""
    if len(spec.inputs) != 1:
        return None
    try:
        recorded = spec.function(**{spec.inputs[0]: _FrameRecorder(spec.entity)})
    except Exception:  # the recorder does not support the function; a real error shows again in the evaluation
        return None
    if not isinstance(recorded, _FrameRecorder) or not recorded.grouped:
        return None
    return AggregateView(spec.inputs[0], recorded.before, recorded.measures, recorded.after)


@dataclass(frozen=True)
class _FrameRecorder:
    """Stands in for a frame and records the operations on it; any operation not defined here is unknown."""

    entity: str
    before: tuple[Step, ...] = ()
    measures: tuple[AggregateMeasure, ...] = ()
    after: tuple[Step, ...] = ()
    grouped: bool = False

    def filter(self, *predicates: Any) -> _FrameRecorder:
        conditions = _row_wise(predicates)
        return self._then(lambda frame, kept: frame.filter(*conditions))

    def with_columns(self, *exprs: Any, **named: Any) -> _FrameRecorder:
        positional, by_name = _row_wise(exprs), dict(zip(named, _row_wise(named.values()), strict=True))
        return self._then(lambda frame, kept: frame.with_columns(*positional, **by_name))

    def select(self, *exprs: Any, **named: Any) -> _FrameRecorder:
        positional, by_name = _row_wise(exprs), dict(zip(named, _row_wise(named.values()), strict=True))
        if not any(_reads(expr) for expr in [*positional, *by_name.values()]):
            raise _Unknown  # a selection of literals returns one row, whatever the number of rows
        return self._then(lambda frame, kept: frame.select(*positional, *kept, **by_name))

    def rename(self, mapping: Mapping[str, str]) -> _FrameRecorder:
        names = dict(mapping)
        return self._then(lambda frame, kept: frame.rename(names))

    def drop(self, *columns: Any) -> _FrameRecorder:
        names = _flat(columns)
        if not all(isinstance(name, str) for name in names):
            raise _Unknown
        return self._then(lambda frame, kept: frame.drop(*names))

    def drop_nulls(self, subset: str | list[str]) -> _FrameRecorder:
        names = [subset] if isinstance(subset, str) else list(subset)
        return self._then(lambda frame, kept: frame.drop_nulls(names))

    def lazy(self) -> _FrameRecorder:
        return self

    def pipe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    def group_by(self, *keys: Any) -> _GroupRecorder:
        columns = _flat(keys)
        if self.grouped or len(columns) != 1 or _name_of_key(columns[0]) != self.entity:
            raise _Unknown
        return _GroupRecorder(self)

    def _then(self, step: Step) -> _FrameRecorder:
        before, after = (self.before, (*self.after, step)) if self.grouped else ((*self.before, step), self.after)
        return _FrameRecorder(self.entity, before, self.measures, after, self.grouped)


@dataclass(frozen=True)
class _GroupRecorder:
    frame: _FrameRecorder

    def agg(self, *aggs: Any, **named: Any) -> _FrameRecorder:
        totals = _Totals()
        outputs = [totals.rewritten(expr).alias(_output_name(expr)) for agg in _flat(aggs) for expr in _single(agg)]
        outputs += [totals.rewritten(_only(expr)).alias(name) for name, expr in named.items()]
        entity = self.frame.entity
        step: Step = lambda frame, kept: frame.select(entity, *outputs, *kept)  # noqa: E731 - as the others
        return _FrameRecorder(entity, self.frame.before, tuple(totals.measures), (step,), grouped=True)


@dataclass
class _Totals:
    """Splits expressions of aggregates: each aggregate becomes a measure, and a column takes its place."""

    measures: list[AggregateMeasure] = field(default_factory=list)

    def rewritten(self, expr: Any, *, top: bool = True) -> Any:
        """The expression over the measures' columns; raises `_Unknown` where it does not consist of aggregates."""
        if not isinstance(expr, nw.Expr):
            if isinstance(expr, str) or top:
                raise _Unknown  # a column's name, which has no single value per group
            return expr
        nodes = list(expr._nodes)
        position = next((at for at, node in enumerate(nodes) if node.kind.name == "AGGREGATION"), None)
        if position is None:
            if top or [node.kind.name for node in nodes] != ["LITERAL"]:
                raise _Unknown
            return expr
        result = nw.Expr(*nw.col(self._measure(nodes[: position + 1]))._nodes)
        for node in nodes[position + 1 :]:
            if node.kind.name != "ELEMENTWISE" or node.name.startswith("name."):
                raise _Unknown
            copied = type(node)(node.kind, node.name, str_as_lit=True, **node.kwargs)
            literal = node.str_as_lit
            copied.exprs = [
                other if isinstance(other, str) and literal else self.rewritten(other, top=False)
                for other in node.exprs
            ]
            copied.allow_multi_output = node.allow_multi_output
            result = nw.Expr(*result._nodes, copied)
        return result

    def _measure(self, nodes: list[Any]) -> str:
        total, inner = nodes[-1], nodes[:-1]
        if total.name not in _TOTALS or total.exprs or total.kwargs:
            raise _Unknown
        column = f"_tm_total_{len(self.measures)}"
        value = None
        if total.name != "len":
            value = _added_up(inner)
        elif inner:
            _row_wise([nw.Expr(*inner)])  # `col.len()` counts rows, whatever is in them
        self.measures.append(AggregateMeasure(column, total.name, value))
        return column


def _added_up(nodes: list[Any]) -> nw.Expr:
    """The row-wise expression that is aggregated; a `filter` in it turns the other rows into missing values."""
    if nodes and nodes[-1].kind.name == "FILTRATION" and nodes[-1].name == "filter" and not nodes[-1].kwargs:
        conditions = _row_wise(nodes[-1].exprs)
        return nw.when(*conditions).then(_added_up(nodes[:-1]))
    if not nodes:
        raise _Unknown
    (value,) = _row_wise([nw.Expr(*nodes)])
    return value  # type: ignore[no-any-return]


def _row_wise(exprs: Iterable[Any]) -> list[Any]:
    """The same expressions (strings are columns) as a flat list; raises `_Unknown` where one is not row-wise."""
    flat = _flat(exprs)
    for expr in flat:
        if isinstance(expr, nw.Expr):
            for node in expr._nodes:
                if node.kind.name not in _ROW_WISE or not node.is_elementwise():
                    raise _Unknown
                if any(isinstance(value, nw.Expr | nw.Series) for value in node.kwargs.values()):
                    raise _Unknown
                _row_wise([other for other in node.exprs if isinstance(other, nw.Expr)])
                if any(isinstance(other, nw.Series) for other in node.exprs):
                    raise _Unknown
        elif not isinstance(expr, str):
            raise _Unknown
    return flat


def _reads(expr: Any) -> bool:
    """Whether an expression reads any column."""
    if isinstance(expr, str):
        return True
    return any(
        node.kind.name == "COL" or any(_reads(other) for other in node.exprs if isinstance(other, nw.Expr))
        for node in expr._nodes
    )


def _single(agg: Any) -> list[nw.Expr]:
    """One expression per column: `nw.col("a", "b").sum()` gives two."""
    expr = _only(agg, several=True)
    first = expr._nodes[0]
    if first.kind.name != "COL":
        return [expr]
    return [nw.Expr(*nw.col(name)._nodes, *expr._nodes[1:]) for name in first.kwargs["names"]]


def _only(agg: Any, *, several: bool = False) -> nw.Expr:
    if not isinstance(agg, nw.Expr):
        raise _Unknown
    first = agg._nodes[0]
    if first.kind.name == "COL" and len(first.kwargs["names"]) != 1 and not several:
        raise _Unknown
    return agg


def _output_name(expr: nw.Expr) -> str:
    """The name of an expression's output column: its last alias, else its first column."""
    for node in reversed(expr._nodes):
        if node.name == "alias":
            return str(node.kwargs["name"])
    first = expr._nodes[0]
    if first.kind.name == "COL":
        return str(first.kwargs["names"][0])
    if first.name == "len":
        return "len"
    raise _Unknown


def _name_of_key(key: Any) -> str | None:
    if isinstance(key, nw.Expr):
        nodes = key._nodes
        return nodes[0].kwargs["names"][0] if len(nodes) == 1 and nodes[0].kind.name == "COL" else None
    return key if isinstance(key, str) else None


def _flat(exprs: Iterable[Any]) -> list[Any]:
    """Flatten arguments that are given one by one or in lists, as Narwhals accepts them."""
    flat: list[Any] = []
    for expr in exprs:
        if isinstance(expr, list | tuple):
            flat += _flat(expr)
        else:
            flat.append(expr)
    return flat
