"""Declarations of a project file: streams, tables, feature views, on-demand features, recommenders, tabular models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from tidemill.core.contract.contract import Contract

if TYPE_CHECKING:
    from tidemill.core.records.signature import Task
    from tidemill.loop.project.sql_query import SqlQuery
    from tidemill.models import LearnerSpec, SlateSpec

TableFunction = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class StreamDeclaration:
    """Rows that arrive day by day, each one event; `snapshot` keeps only the newest row of each key."""

    name: str
    contract: Contract
    key: tuple[str, ...]
    #: The time zone in which its day ends, and the number of days after which a backfilled fact counts as known.
    day_zone: str = "UTC"
    delay_days: int = 0
    snapshot: bool = False


@dataclass(frozen=True, eq=False)
class TableDeclaration:
    """A table computed by a function or a query from other tables, in full or by touched keys."""

    name: str
    function: TableFunction | SqlQuery
    inputs: tuple[str, ...]
    by: tuple[str, ...] = ()
    #: The engine whose own frames the function receives and returns; empty: frames of Narwhals, on every engine.
    engine: Literal["", "spark"] = ""


@dataclass(frozen=True, eq=False)
class FeatureViewDeclaration:
    """A feature view: rows that keep their event time, or aggregates over a window at each boundary of `every`."""

    name: str
    function: TableFunction
    inputs: tuple[str, ...]
    entity: str
    #: For aggregates: the window before each boundary and the distance of boundaries, microseconds; else `None`.
    window_us: int | None = None
    every_us: int | None = None
    #: Validity of a value after its event or its boundary, microseconds; `None`: no expiry.
    ttl_us: int | None = None
    owner: str = ""
    description: str = ""
    #: Whether a fact is valid from its known time, or (as the project declares) from its event time.
    known: Literal["known", "event"] = "known"


@dataclass(frozen=True, eq=False)
class OnDemandDeclaration:
    """On-demand features, computed by the same function in training and in serving.

    Its parameters name request inputs or features; it receives and returns (in a dict) numpy arrays of n values.
    """

    name: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    owner: str = ""
    description: str = ""


class ModelDeclaration(Protocol):
    """What every declaration of a model has."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str:
        """The name of its model family."""
        ...

    @property
    def learn(self) -> Any: ...
    @property
    def helps(self) -> str: ...
    @property
    def could_harm(self) -> str: ...
    @property
    def log(self) -> Literal["available", "required"]: ...


@dataclass(frozen=True, eq=False)
class TabularDeclaration:
    """A tabular model: one row per example, features joined as of its time, and the target to predict."""

    name: str
    #: The stream, table or row view with one row per example.
    examples: str
    target: str
    learn: Any
    #: Columns of the examples that a request contains; `None`: all allowed ones.
    inputs: tuple[str, ...] | None
    features: tuple[str, ...]
    on_demand: tuple[str, ...]
    task: Task | None
    #: The class whose probability a binary model predicts.
    positive: str | None
    #: Rows with the same value stay on one side of a split.
    group: str | None
    #: Columns to slice by, and for the fairness report: attribute -> reference group, "" to compare all pairs.
    slices: tuple[str, ...]
    fairness: Mapping[str, str]
    helps: str
    could_harm: str
    log: Literal["available", "required"] = "available"
    family: str = "tabular"
    #: Share of the examples that are read into the process that trains.
    sample: float = 1.0


@dataclass(frozen=True, eq=False)
class RecommenderDeclaration:
    """A recommender: its interactions, learner and slate, and who is served and could be harmed."""

    family: ClassVar[str] = "recommender"
    name: str
    interactions: str
    items: str | None
    features: tuple[str, ...]
    learn: LearnerSpec
    slate: SlateSpec
    helps: str
    could_harm: str
    log: Literal["available", "required"] = "available"
    #: Share of the people whose events are read into the process that trains.
    sample: float = 1.0
    #: How far its champion may fall behind the tables before a run refreshes it; `None`: no refresh.
    refresh: str | None = None
