"""Declarations of a project file: streams, tables, feature views, on-demand features, recommenders, tabular models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tidemill.core.contract.contract import Contract

if TYPE_CHECKING:
    from tidemill.core.records.signature import Task
    from tidemill.models import LearnerSpec, SlateSpec

TableFunction = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class StreamDeclaration:
    """Rows that arrive day by day, each one event; `snapshot` keeps only the newest row of each key."""

    name: str
    contract: Contract
    key: tuple[str, ...]
    #: The zone in which its day ends, and how long after its day a backfilled fact counts as known.
    day_zone: str = "UTC"
    delay_days: int = 0
    snapshot: bool = False


@dataclass(frozen=True, eq=False)
class TableDeclaration:
    """A table made by a function of other tables, whole or by touched keys."""

    name: str
    function: TableFunction
    inputs: tuple[str, ...]
    by: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FeatureViewDeclaration:
    """A feature view: rows that keep their event time, or aggregates over a window at each boundary of `every`."""

    name: str
    function: TableFunction
    inputs: tuple[str, ...]
    entity: str
    #: Of aggregates: how far back each boundary sees, and how far apart boundaries lie, microseconds; else `None`.
    window_us: int | None = None
    every_us: int | None = None
    #: How long a value counts after its event or its boundary, microseconds; `None`: for ever.
    ttl_us: int | None = None
    owner: str = ""
    description: str = ""
    #: Whether a fact counts from when it was known, or (a claim of the project's) from its event time.
    known: Literal["known", "event"] = "known"


@dataclass(frozen=True, eq=False)
class OnDemandDeclaration:
    """Features that are computed when they are asked for, by the same function in training and in serving.

    Its parameters name inputs of a request or features; it is given numpy arrays of n values and gives a dict of such.
    """

    name: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    owner: str = ""
    description: str = ""


@dataclass(frozen=True, eq=False)
class TabularDeclaration:
    """A tabular model: a row for each example, features joined as of its time, and what is to be foretold."""

    name: str
    #: The stream, table or view of rows that has a row for each example.
    examples: str
    target: str
    learn: Any
    #: Columns of the examples that a request brings; `None`: all that may be.
    inputs: tuple[str, ...] | None
    features: tuple[str, ...]
    on_demand: tuple[str, ...]
    task: Task | None
    #: The class that a binary task gives the probability of.
    positive: str | None
    #: Rows that share its value never stand on both sides of a split.
    group: str | None
    #: Columns to look at parts of, and attributes by which nobody may be treated worse.
    slices: tuple[str, ...]
    fairness: tuple[str, ...]
    helps: str
    could_harm: str
    log: Literal["available", "required"] = "available"


@dataclass(frozen=True, eq=False)
class RecommenderDeclaration:
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
