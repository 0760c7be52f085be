"""The `Mill`: declares a project's streams, tables, checks, features and models. A function is named after its output
and its parameters after its inputs; the dependency graph follows from the signatures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec

from tidemill.core.clock import LONGEST_DAYS
from tidemill.core.contract.contract import ROW, Event, known_zone
from tidemill.core.duration import duration
from tidemill.core.errors import GraphError, SettingRefused, TypeMismatch, UnknownName, UsageError, nearest
from tidemill.loop.project.declarations import (
    FeatureViewDeclaration,
    ModelDeclaration,
    OnDemandDeclaration,
    RecommenderDeclaration,
    StreamDeclaration,
    TableDeclaration,
    TableFunction,
    TabularDeclaration,
)
from tidemill.loop.project.external_inputs import ExternalDeclaration, ExternalDeclarations
from tidemill.loop.project.sql_query import SqlQuery

if TYPE_CHECKING:
    from tidemill.checks import AnyExpectation
    from tidemill.core.records.signature import Task
    from tidemill.models import LearnerSpec, SlateSpec


@dataclass
class Mill(ExternalDeclarations):
    """A project: its streams, tables, checks, features and models, under one name.

    >>> Mill("magazines").name
    'magazines'
    """

    name: str
    streams: dict[str, StreamDeclaration] = field(default_factory=dict)
    external_tables: dict[str, ExternalDeclaration] = field(default_factory=dict)
    tables: dict[str, TableDeclaration] = field(default_factory=dict)
    features_views: dict[str, FeatureViewDeclaration] = field(default_factory=dict)
    on_demands: dict[str, OnDemandDeclaration] = field(default_factory=dict)
    #: The models of all families.
    models: dict[str, ModelDeclaration] = field(default_factory=dict)
    expectations: dict[str, list[AnyExpectation]] = field(default_factory=dict)

    @property
    def recommenders(self) -> dict[str, RecommenderDeclaration]:
        """The declared recommenders."""
        return {name: model for name, model in self.models.items() if isinstance(model, RecommenderDeclaration)}

    @property
    def row_models(self) -> dict[str, TabularDeclaration]:
        """The declared models that predict from a row: tabular models, and those of other families."""
        return {name: model for name, model in self.models.items() if isinstance(model, TabularDeclaration)}

    def add(self, model: ModelDeclaration) -> None:
        """Add a declared model; raises `GraphError` for a name that is not an identifier or already used."""
        if not model.name.isidentifier():
            raise GraphError(f"{model.name!r} cannot be a model's name", tip="use letters, digits and underscores")
        if model.name in self.models:
            raise GraphError(f"the model {model.name!r} is declared twice")
        self.models[model.name] = model

    def stream(
        self,
        name: str,
        event: type[Event],
        *,
        key: str | Sequence[str],
        day_zone: str = "UTC",
        delay_days: int = 0,
    ) -> StreamDeclaration:
        """Declare a stream of events. Rows with the same `key` are one event; the last one to arrive is kept.

        With `key="_row"` every row is a separate event, even if rows are equal.
        """
        return self._add_stream(name, event, key, day_zone=day_zone, delay_days=delay_days)

    def snapshot(
        self, name: str, event: type[Event], *, key: str | Sequence[str], day_zone: str = "UTC"
    ) -> StreamDeclaration:
        """Declare a stream that keeps only the newest row of each `key`."""
        return self._add_stream(name, event, key, day_zone=day_zone, snapshot=True)

    def _add_stream(self, name: str, event: type[Event], key: str | Sequence[str], **about: Any) -> StreamDeclaration:
        keys = _names(key)
        if not 0 <= about.get("delay_days", 0) <= LONGEST_DAYS:
            raise SettingRefused(f"stream {name!r}: delay_days={about['delay_days']} is not 0 to {LONGEST_DAYS}")
        known_zone(about.get("day_zone", "UTC"))
        for column in keys:
            if column not in (*event.contract.names, ROW):
                raise UnknownName(
                    f"stream {name!r}: the key column {column!r} is not in {event.__name__}",
                    tip=nearest(column, event.contract.names),
                )
        stream = StreamDeclaration(name, event.contract, keys, **about)
        self._claim(name)
        self.streams[name] = stream
        return stream

    @overload
    def table(self, function: TableFunction) -> TableDeclaration: ...
    @overload
    def table(
        self, *, by: str | Sequence[str] = (), engine: Literal["", "spark"] = ""
    ) -> Callable[[TableFunction], TableDeclaration]: ...
    def table(
        self,
        function: TableFunction | None = None,
        *,
        by: str | Sequence[str] = (),
        engine: Literal["", "spark"] = "",
    ) -> Any:
        """Declare a table by a function; without options also as `@mill.table`.

        `by` promises that rows depend only on rows of the same key, so an increment recomputes only the keys that it
        touches; without it the table is rebuilt in full each time. With `engine="spark"` the function receives and
        returns DataFrames of PySpark, and is refused on other engines; else frames of Narwhals, on every engine.
        """
        if engine not in ("", "spark"):
            raise SettingRefused(f"a table has engine={engine!r}", tip='leave it out, or write engine="spark"')

        def declare(function: TableFunction) -> TableDeclaration:
            table = TableDeclaration(_name(function), function, _parameters(function), _names(by), engine)
            self._claim(table.name)
            self.tables[table.name] = table
            return table

        return declare if function is None else declare(function)

    def sql(self, name: str, query: str, *, by: str | Sequence[str] = ()) -> TableDeclaration:
        """Declare a table by a SELECT over streams and tables; DuckDB evaluates it on one machine, Spark SQL on Spark.

        Its inputs are the tables that it names; `by` is that of `table`. Use what both engines have in common: nulls
        come first where an order rises, times are UTC, and a decimal number becomes an integer or a float. Raises
        `GraphError` for a query that is not one valid SELECT, and `BackendMissing` without DuckDB.

        >>> mill = Mill("magazines")
        >>> mill.sql("stars", "SELECT item_id, avg(rating) AS stars FROM reviews GROUP BY item_id", by="item_id").inputs
        ('reviews',)
        """
        if not name.isidentifier():
            raise GraphError(f"{name!r} cannot be a table's name", tip="use letters, digits and underscores")
        parsed = SqlQuery.parsed(inspect.cleandoc(query))
        table = TableDeclaration(name, parsed, parsed.tables, _names(by))
        self._claim(name)
        self.tables[name] = table
        return table

    def features(
        self,
        *,
        entity: str,
        window: str | None = None,
        every: str | None = None,
        ttl: str | None = None,
        owner: str = "",
        description: str = "",
        known: Literal["known", "event"] = "known",
    ) -> Callable[[TableFunction], FeatureViewDeclaration]:
        """Declare a feature view of one `entity`, joined to examples as of their time and served online.

        Without a window it is a view of *rows*: each keeps its event time and `_known_at`, and the newest one is used.
        With `window="90 days", every="1 day"` it is a view of *aggregates*: the function receives only the rows that
        were known at each boundary (multiples of `every` since 1970, in UTC) and happened within the window before it.
        After its `ttl` a value is expired, in training and online. `known="event"` declares that each fact of a view of
        rows was known when it happened. The default description is the function's docstring.
        """

        def declare(function: TableFunction) -> FeatureViewDeclaration:
            name = _name(function)
            view = FeatureViewDeclaration(
                name,
                function,
                _parameters(function),
                entity,
                *_window(name, window, every),
                None if ttl is None else _microseconds(f"features {name!r}: ttl={ttl!r}", ttl),
                owner,
                description or inspect.getdoc(function) or "",
                known,
            )
            self._claim(view.name)
            self.features_views[view.name] = view
            return view

        return declare

    @overload
    def on_demand(self, function: Callable[..., Any]) -> OnDemandDeclaration: ...
    @overload
    def on_demand(
        self, *, owner: str = "", description: str = ""
    ) -> Callable[[Callable[..., Any]], OnDemandDeclaration]: ...
    def on_demand(self, function: Callable[..., Any] | None = None, *, owner: str = "", description: str = "") -> Any:
        """Declare on-demand features. The function's parameters name columns: inputs of a request, looked-up features,
        or outputs of another such function. It receives numpy arrays and returns a dict of name -> array.

        The same source runs on all rows in training and on one row in the server, so it may import only what a custom
        rule may.
        """

        def declare(function: Callable[..., Any]) -> OnDemandDeclaration:
            made = OnDemandDeclaration(
                _name(function), function, _parameters(function), owner, description or inspect.getdoc(function) or ""
            )
            self._claim(made.name)
            self.on_demands[made.name] = made
            return made

        return declare if function is None else declare(function)

    def check(self, node: StreamDeclaration | TableDeclaration, *expectations: AnyExpectation) -> None:
        """Add expectations for each increment's rows of a stream or table; a failure holds the increment or warns."""
        if not isinstance(node, StreamDeclaration | TableDeclaration):
            raise TypeMismatch(f"check: {node!r} is neither a stream nor a table")
        self.expectations.setdefault(node.name, []).extend(expectations)

    def recommender(
        self,
        name: str,
        *,
        interactions: StreamDeclaration | TableDeclaration,
        learn: LearnerSpec,
        slate: SlateSpec,
        items: StreamDeclaration | TableDeclaration | None = None,
        features: Sequence[FeatureViewDeclaration] = (),
        helps: str = "",
        could_harm: str = "",
        log: Literal["available", "required"] = "available",
        refresh: str | None = None,
        sample: float = 1.0,
    ) -> RecommenderDeclaration:
        """Declare a recommender. With `log="required"` it serves only responses that can be logged.

        With `refresh="1 day"`, each run that ingests a day recomputes the champion's lists from its counts and promotes
        the result, without retraining; with `"7 days"`, when it is a week behind. Without it, the model is unchanged.
        With `sample=0.1`, settings, vectors and trees are learned from the events of a tenth of the people, always the
        same ones; lists of counts and popularity come from all events, counted on the engine.
        """
        for what, node in [("interactions", interactions), ("items", items)]:
            if not isinstance(node, StreamDeclaration | TableDeclaration) and (
                node is not None or what == "interactions"
            ):
                raise TypeMismatch(
                    f"recommender {name!r}: {what}={node!r} is neither a stream nor a table",
                    tip="pass the function or the stream itself, without quotes",
                )
        for view in features:
            if not isinstance(view, FeatureViewDeclaration):
                raise TypeMismatch(
                    f"recommender {name!r}: features=[{view!r}] is not a feature view",
                    tip="pass functions with @mill.features, without quotes",
                )
        declaration = RecommenderDeclaration(
            name,
            interactions.name,
            items.name if items else None,
            tuple(view.name for view in features),
            learn,
            slate,
            helps,
            could_harm,
            log,
            sample=_share(name, sample),
            refresh=_whole_days(name, refresh),
        )
        self.add(declaration)
        return declaration

    def model(
        self,
        name: str,
        *,
        target: str,
        learn: Any,
        examples: StreamDeclaration | TableDeclaration | FeatureViewDeclaration | None = None,
        inputs: Sequence[str] | None = None,
        features: Sequence[FeatureViewDeclaration | OnDemandDeclaration] = (),
        task: Task | None = None,
        positive: str | None = None,
        group: str | None = None,
        slices: Sequence[str] = (),
        fairness: Sequence[str] | Mapping[str, str] = (),
        helps: str = "",
        could_harm: str = "",
        log: Literal["available", "required"] = "available",
        sample: float = 1.0,
    ) -> TabularDeclaration:
        """Declare a tabular model that predicts the column `target` of `examples`, which has one row per example.

        `features` are joined as of each example's event time, by the entity's column. `inputs` are the columns of the
        examples that a request contains; by default all but the target, times, people and the group. `learn` is
        `tm.auto(minutes=2)`, any estimator with `fit` and `predict`, or the learner of another model family. The
        default of `examples` is the first feature view. Rows of the same `group` stay on one side of a split.
        `fairness` are attributes whose groups are compared; `{"race": "Caucasian"}` compares each with this one.

        With `sample=0.1`, the model is trained and evaluated on a tenth of the examples, always the same ones: whole
        groups if there is a `group`, else rows.
        """
        views = [node for node in features if isinstance(node, FeatureViewDeclaration)]
        for node in features:
            if not isinstance(node, FeatureViewDeclaration | OnDemandDeclaration):
                raise TypeMismatch(
                    f"model {name!r}: features=[{node!r}] is not a feature view",
                    tip="pass functions with @mill.features or @mill.on_demand, without quotes",
                )
        rows = examples if examples is not None else (views[0] if views else None)
        if not isinstance(rows, StreamDeclaration | TableDeclaration | FeatureViewDeclaration):
            raise TypeMismatch(
                f"model {name!r}: examples={examples!r} is neither a stream, a table nor a feature view",
                tip="pass a stream, table or view with a row for each example, without quotes",
            )
        learns = isinstance(learn, msgspec.Struct) or hasattr(learn, "fit") or hasattr(learn, "learned_elsewhere")
        if not learns:
            raise TypeMismatch(
                f"model {name!r}: learn={learn!r} is not a learner",
                tip="use tm.auto(minutes=2), or an object with `fit`",
            )
        declaration = TabularDeclaration(
            name,
            rows.name,
            target,
            learn,
            None if inputs is None else tuple(inputs),
            tuple(view.name for view in views if view is not rows),
            tuple(node.name for node in features if isinstance(node, OnDemandDeclaration)),
            task,
            positive,
            group,
            tuple(slices),
            dict(fairness) if isinstance(fairness, Mapping) else dict.fromkeys(fairness, ""),
            helps,
            could_harm,
            log,
            getattr(learn, "family", "tabular") if hasattr(learn, "settings") else "tabular",
            _share(name, sample),
        )
        self.add(declaration)
        return declaration

    def _claim(self, name: str) -> None:
        if name.startswith("_") or not name.isidentifier():
            raise GraphError(f"{name!r} cannot be a name", tip="use letters, digits and underscores, a letter first")
        taken = (self.streams, self.external_tables, self.tables, self.features_views, self.on_demands)
        if any(name in names for names in taken):
            raise GraphError(f"the name {name!r} is used twice in mill {self.name!r}")


def _share(model: str, sample: float) -> float:
    if isinstance(sample, int | float) and 0 < sample <= 1:
        return float(sample)
    raise SettingRefused(
        f"model {model!r}: sample={sample!r} is not a share", tip="write a number from 0 to 1: sample=0.1"
    )


def _whole_days(model: str, refresh: str | None) -> str | None:
    if refresh is None or (duration(refresh) and not duration(refresh) % duration("1 day")):
        return refresh
    raise SettingRefused(
        f"recommender {model!r}: refresh={refresh!r} is not a whole number of days", tip='write refresh="1 day"'
    )


def _window(view: str, window: str | None, every: str | None) -> tuple[int | None, int | None]:
    """Both in microseconds; a window is a multiple of `every`, so that each row enters and leaves at a boundary."""
    if (window is None) != (every is None):
        given, other = ("window", "every") if every is None else ("every", "window")
        raise SettingRefused(
            f"features {view!r}: `{given}=` also needs `{other}=`", tip='write window="90 days", every="1 day"'
        )
    if window is None or every is None:
        return None, None
    long, step = (_microseconds(f"features {view!r}: {text!r}", text) for text in (window, every))
    if long % step:
        raise SettingRefused(
            f"features {view!r}: window={window!r} is not a multiple of every={every!r}",
            tip='write for example window="90 days", every="1 day"',
        )
    return long, step


def _microseconds(where: str, text: str) -> int:
    try:
        found = duration(text)
    except UsageError as problem:
        raise SettingRefused(f"{where} is not a valid duration", tip='write "2 days"') from problem
    if found <= 0:
        raise SettingRefused(f"{where} must be longer than 0")
    return found


def _name(function: TableFunction) -> str:
    return str(getattr(function, "__name__", ""))


def _parameters(function: TableFunction) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
