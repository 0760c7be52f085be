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
#: A step on a frame, which keeps the named columns besides.
Step = Callable[[Any, Sequence[str]], Any]

_ROW_WISE = ("COL", "ELEMENTWISE", "LITERAL", "WHEN_THEN")
_TOTALS = get_args(Total)


class _Unknown(Exception):
    """The function does something that is not recognised."""


@dataclass(frozen=True)
class AggregateMeasure:
    """One total over the rows of a window: what is added up, and the column that it is computed into."""

    column: str
    total: Total
    #: What is added up, an expression over the rows; `None` for `len`.
    value: nw.Expr | None


@dataclass(frozen=True)
class AggregateView:
    """A view as totals over rows: steps before, totals, steps after."""

    source: str
    before: tuple[Step, ...]
    measures: tuple[AggregateMeasure, ...]
    after: tuple[Step, ...]


def recognise_aggregates(spec: ViewSpec) -> AggregateView | None:
    """The form of a view's function, or `None` where it is not one of those that are known."""
    if len(spec.inputs) != 1:
        return None
    try:
        made = spec.function(**{spec.inputs[0]: _FrameRecorder(spec.entity)})
    except Exception:  # whatever the function wants that a recording cannot give, the evaluation itself will tell
        return None
    if not isinstance(made, _FrameRecorder) or not made.grouped:
        return None
    return AggregateView(spec.inputs[0], made.before, made.measures, made.after)


@dataclass(frozen=True)
class _FrameRecorder:
    """Takes a frame's place and writes down what is asked of it; anything not defined here is unknown."""

    entity: str
    before: tuple[Step, ...] = ()
    measures: tuple[AggregateMeasure, ...] = ()
    after: tuple[Step, ...] = ()
    grouped: bool = False

    def filter(self, *predicates: Any) -> _FrameRecorder:
        found = _row_wise(predicates)
        return self._then(lambda frame, kept: frame.filter(*found))

    def with_columns(self, *exprs: Any, **named: Any) -> _FrameRecorder:
        found, by_name = _row_wise(exprs), dict(zip(named, _row_wise(named.values()), strict=True))
        return self._then(lambda frame, kept: frame.with_columns(*found, **by_name))

    def select(self, *exprs: Any, **named: Any) -> _FrameRecorder:
        found, by_name = _row_wise(exprs), dict(zip(named, _row_wise(named.values()), strict=True))
        if not any(_reads(expr) for expr in [*found, *by_name.values()]):
            raise _Unknown  # literals alone make one row of however many
        return self._then(lambda frame, kept: frame.select(*found, *kept, **by_name))

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
        found = _flat(keys)
        if self.grouped or len(found) != 1 or _name_of_key(found[0]) != self.entity:
            raise _Unknown
        return _GroupRecorder(self)

    def _then(self, step: Step) -> _FrameRecorder:
        before, after = (self.before, (*self.after, step)) if self.grouped else ((*self.before, step), self.after)
        return _FrameRecorder(self.entity, before, self.measures, after, self.grouped)


@dataclass(frozen=True)
class _GroupRecorder:
    frame: _FrameRecorder

    def agg(self, *aggs: Any, **named: Any) -> _FrameRecorder:
        found = _Totals()
        outputs = [found.rewritten(expr).alias(_output_name(expr)) for agg in _flat(aggs) for expr in _single(agg)]
        outputs += [found.rewritten(_only(expr)).alias(name) for name, expr in named.items()]
        entity = self.frame.entity
        step: Step = lambda frame, kept: frame.select(entity, *outputs, *kept)  # noqa: E731 - as the others
        return _FrameRecorder(entity, self.frame.before, tuple(found.measures), (step,), grouped=True)


@dataclass
class _Totals:
    """Takes expressions of totals apart: each total becomes a measure, and a column in its place."""

    measures: list[AggregateMeasure] = field(default_factory=list)

    def rewritten(self, expr: Any, *, top: bool = True) -> Any:
        """The expression over the measures' columns; unknown where it is not made of totals."""
        if not isinstance(expr, nw.Expr):
            if isinstance(expr, str) or top:
                raise _Unknown  # a column's name, which has no single value per group
            return expr
        nodes = list(expr._nodes)
        place = next((at for at, node in enumerate(nodes) if node.kind.name == "AGGREGATION"), None)
        if place is None:
            if top or [node.kind.name for node in nodes] != ["LITERAL"]:
                raise _Unknown
            return expr
        made = nw.Expr(*nw.col(self._measure(nodes[: place + 1]))._nodes)
        for node in nodes[place + 1 :]:
            if node.kind.name != "ELEMENTWISE" or node.name.startswith("name."):
                raise _Unknown
            given = type(node)(node.kind, node.name, str_as_lit=True, **node.kwargs)
            literal = node.str_as_lit
            given.exprs = [
                other if isinstance(other, str) and literal else self.rewritten(other, top=False)
                for other in node.exprs
            ]
            given.allow_multi_output = node.allow_multi_output
            made = nw.Expr(*made._nodes, given)
        return made

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
    """What is added up: an expression on each row, of which a `filter` leaves out some (as missing values)."""
    if nodes and nodes[-1].kind.name == "FILTRATION" and nodes[-1].name == "filter" and not nodes[-1].kwargs:
        conditions = _row_wise(nodes[-1].exprs)
        return nw.when(*conditions).then(_added_up(nodes[:-1]))
    if not nodes:
        raise _Unknown
    (value,) = _row_wise([nw.Expr(*nodes)])
    return value  # type: ignore[no-any-return]


def _row_wise(exprs: Iterable[Any]) -> list[Any]:
    """The same expressions (strings are columns), all of them known to look at each row alone."""
    found = _flat(exprs)
    for expr in found:
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
    return found


def _reads(expr: Any) -> bool:
    """Whether an expression reads a column at all."""
    if isinstance(expr, str):
        return True
    return any(
        node.kind.name == "COL" or any(_reads(other) for other in node.exprs if isinstance(other, nw.Expr))
        for node in expr._nodes
    )


def _single(agg: Any) -> list[nw.Expr]:
    """One expression per column: `nw.col("a", "b").sum()` is two."""
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
    """The name of an expression's column: its last alias, else the column that it begins with."""
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
    """Arguments as Narwhals takes them: one after the other, or in lists."""
    found: list[Any] = []
    for expr in exprs:
        if isinstance(expr, list | tuple):
            found += _flat(expr)
        else:
            found.append(expr)
    return found
