"""The project file's words: a `Mill` and what it makes. Functions are named after what they make, parameters name what
they need, and the graph follows from the signatures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tidemill.core.duration import duration
from tidemill.core.errors import GraphError, SettingRefused, TypeMismatch, UnknownName, nearest
from tidemill.core.schema import Contract, Event, known_zone, refuse_unbuilt

if TYPE_CHECKING:
    from tidemill.checks import AnyExpectation
    from tidemill.models import LearnerSpec, SlateSpec

TableFunction = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows that arrive day by day, each one event; `snapshot` keeps only the newest row of each key."""

    name: str
    contract: Contract
    key: tuple[str, ...]
    #: The zone in which its day ends, and how long after its day a backfilled fact counts as known.
    day_zone: str = "UTC"
    delay_days: int = 0
    snapshot: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """A table made by a function of other tables, whole or by touched keys."""

    name: str
    function: TableFunction
    inputs: tuple[str, ...]
    by: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Features:
    """A feature view: the newest row of each entity, online in the Latest store."""

    name: str
    function: TableFunction
    inputs: tuple[str, ...]
    entity: str


@dataclass(frozen=True, eq=False)
class Recommender:
    """A recommender: what it learns from, what its slate may ask, and who is served and could be harmed."""

    name: str
    interactions: str
    items: str | None
    features: tuple[str, ...]
    learn: LearnerSpec
    slate: SlateSpec
    helps: str
    could_harm: str
    log: Literal["available", "required"] = "available"
    #: How far its champion may fall behind the tables before a run makes it fresh; `None`: until it is learned anew.
    refresh: str | None = None


Node = Stream | Table | Features


@dataclass
class Mill:
    """A project: its streams, tables, checks, features and models, under one name.

    >>> Mill("magazines").name
    'magazines'
    """

    name: str
    streams: dict[str, Stream] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    features_views: dict[str, Features] = field(default_factory=dict)
    recommenders: dict[str, Recommender] = field(default_factory=dict)
    expectations: dict[str, list[AnyExpectation]] = field(default_factory=dict)

    def stream(
        self,
        name: str,
        event: type[Event],
        *,
        key: str | Sequence[str],
        day_zone: str = "UTC",
        delay_days: int = 0,
    ) -> Stream:
        """Declare a stream of events. Rows with the same `key` are one event; the one that arrived last counts."""
        return self._add_stream(name, event, key, day_zone=day_zone, delay_days=delay_days)

    def snapshot(self, name: str, event: type[Event], *, key: str | Sequence[str], day_zone: str = "UTC") -> Stream:
        """Declare a stream of which only the newest row of each `key` is kept."""
        return self._add_stream(name, event, key, day_zone=day_zone, snapshot=True)

    def _add_stream(self, name: str, event: type[Event], key: str | Sequence[str], **about: Any) -> Stream:
        keys = _names(key)
        known_zone(about.get("day_zone", "UTC"))
        for column in keys:
            if column not in event.contract.names:
                raise UnknownName(
                    f"stream {name!r}: the key column {column!r} is not in {event.__name__}",
                    tip=nearest(column, event.contract.names),
                )
        stream = Stream(name, event.contract, keys, **about)
        self._claim(name)
        self.streams[name] = stream
        return stream

    def table(self, *, by: str | Sequence[str] = ()) -> Callable[[TableFunction], Table]:
        """Make a table by a function. `by` promises that rows depend only on rows of the same key, so that an increment
        recomputes the touched keys alone; without it the table is made whole each time.
        """

        def declare(function: TableFunction) -> Table:
            table = Table(_name(function), function, _parameters(function), _names(by))
            self._claim(table.name)
            self.tables[table.name] = table
            return table

        return declare

    def features(
        self,
        *,
        entity: str,
        window: str | None = None,
        every: str | None = None,
        ttl: str | None = None,
    ) -> Callable[[TableFunction], Features]:
        """Make a feature view: one row per `entity`, the newest, kept ready for answers."""

        def declare(function: TableFunction) -> Features:
            name = _name(function)
            refuse_unbuilt(f"features {name!r}", window=window, every=every, ttl=ttl)
            view = Features(name, function, _parameters(function), entity)
            self._claim(view.name)
            self.features_views[view.name] = view
            return view

        return declare

    def check(self, node: Stream | Table, *expectations: AnyExpectation) -> None:
        """Expect something of each increment's rows of a stream or table; what fails holds or warns."""
        if not isinstance(node, Stream | Table):
            raise TypeMismatch(f"check: {node!r} is neither a stream nor a table")
        self.expectations.setdefault(node.name, []).extend(expectations)

    def recommender(
        self,
        name: str,
        *,
        interactions: Stream | Table,
        learn: LearnerSpec,
        slate: SlateSpec,
        items: Stream | Table | None = None,
        features: Sequence[Features] = (),
        helps: str = "",
        could_harm: str = "",
        log: Literal["available", "required"] = "available",
        refresh: str | None = None,
    ) -> Recommender:
        """Declare a recommender. `log="required"` answers nothing that could not be logged.

        With `refresh="1 day"`, each run that brings in a day makes the champion's lists anew from its counts and takes
        it live, without learning; with `"7 days"`, when it is a week behind. Without, it stays as it was learned.
        """
        for what, node in [("interactions", interactions), ("items", items)]:
            if not isinstance(node, Stream | Table) and (node is not None or what == "interactions"):
                raise TypeMismatch(
                    f"recommender {name!r}: {what}={node!r} is neither a stream nor a table",
                    tip="name the function or the stream itself, without quotes",
                )
        for view in features:
            if not isinstance(view, Features):
                raise TypeMismatch(
                    f"recommender {name!r}: features=[{view!r}] is no feature view",
                    tip="name functions with @mill.features, without quotes",
                )
        made = Recommender(
            name,
            interactions.name,
            items.name if items else None,
            tuple(view.name for view in features),
            learn,
            slate,
            helps,
            could_harm,
            log,
            _whole_days(name, refresh),
        )
        if not name.isidentifier():
            raise GraphError(f"{name!r} cannot be a model's name", tip="use letters, digits and underscores")
        if name in self.recommenders:
            raise GraphError(f"the model {name!r} is declared twice")
        self.recommenders[name] = made
        return made

    def _claim(self, name: str) -> None:
        if name.startswith("_") or not name.isidentifier():
            raise GraphError(f"{name!r} cannot be a name", tip="use letters, digits and underscores, a letter first")
        if name in self.streams or name in self.tables or name in self.features_views:
            raise GraphError(f"the name {name!r} is used twice in mill {self.name!r}")


def _whole_days(model: str, refresh: str | None) -> str | None:
    if refresh is None or (duration(refresh) and not duration(refresh) % duration("1 day")):
        return refresh
    raise SettingRefused(
        f"recommender {model!r}: refresh={refresh!r} is no number of whole days", tip='write refresh="1 day"'
    )


def _name(function: TableFunction) -> str:
    return str(getattr(function, "__name__", ""))


def _parameters(function: TableFunction) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
