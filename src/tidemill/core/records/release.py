"""Release records: the rules of a slate, the model card, and the release that pins both."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record, VersionedRecord
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.signature import Signature


class RefreshOrigin(Record, frozen=True):
    """That a model was brought up to date by counting, without learning: its settings and evaluation are older."""

    #: The release that was learned, and the as-of that it was learned at (microseconds).
    of: str = ""
    as_of: int = 0
    #: When it was refreshed.
    at: int = 0


class Card(VersionedRecord, frozen=True):
    """What people need to know before a model goes live. `helps` and `could_harm` are required."""

    KIND: ClassVar[str] = "model card"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "learner")

    model: str = ""
    helps: str = ""
    could_harm: str = ""
    learner: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    evaluation: Evaluation | None = None
    #: Table -> version, and the rows and people that it learned from.
    data: dict[str, int] = msgspec.field(default_factory=dict)
    n_rows: int = 0
    n_users: int = 0
    n_items: int = 0
    learned_at: int = 0
    as_of: int = 0
    #: Set where it was refreshed: `learned_at` and `evaluation` are those of the learning, all else is of now.
    refreshed: RefreshOrigin | None = None
    #: How good a tabular model is; `evaluation` is a recommender's.
    assessment: Assessment | None = None
    #: Where a model that was learned elsewhere comes from: `source`, `licence`, `revision`, `sha256`; else empty.
    origin: dict[str, str] = msgspec.field(default_factory=dict)


class Rule(Record, frozen=True):
    """One built-in rule of a slate as data: `name` picks it, `args` sets it."""

    name: str = ""
    args: dict[str, Any] = msgspec.field(default_factory=dict)


class RuleSet(Record, frozen=True):
    """A slate: retrieve, filter, score, order, and the fallback."""

    retrieve: tuple[Rule, ...] = ()
    filter: tuple[Rule, ...] = ()
    score: tuple[Rule, ...] = ()
    order: tuple[Rule, ...] = ()
    fallback: Rule | None = None


class Release(VersionedRecord, frozen=True):
    """The only thing that can be served."""

    KIND: ClassVar[str] = "release"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "number", "bundle")

    #: Format 2 has the words of `core.kinds`; a reader of format 1 knows only the former ones.
    format: int = 2
    model: str = ""
    number: int = 0
    #: sha256 of the bundle's manifest; the bundle's name in the blob store.
    bundle: str = ""
    rules: RuleSet = RuleSet()
    #: The user's own rules: path of the source module in the folder `modules` -> sha256.
    rule_modules: dict[str, str] = msgspec.field(default_factory=dict)
    #: Feature views that the rules read: view -> columns.
    facts: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    data: dict[str, int] = msgspec.field(default_factory=dict)
    #: Fingerprint of the code that made it, commit where known, and the environment's lock.
    code: str = ""
    commit: str | None = None
    environment: str = ""
    card: Card = Card()
    created_at: int = 0
    log: Literal["available", "required"] = "available"
    #: sha256 of the manifest of the sealed folder of rule modules; empty where all rules are built in.
    modules: str = ""
    #: How a tabular model is asked and what it answers; `None` for a recommender.
    signature: Signature | None = None

    @property
    def name(self) -> str:
        """`for_you@3`."""
        return f"{self.model}@{self.number}"
