"""Release records: the rules of a slate, the model card, and the release that pins both."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record, VersionedRecord
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.signature import Signature


class RefreshOrigin(Record, frozen=True):
    """Origin of a refreshed model: its counts were updated without retraining; settings and evaluation are older."""

    #: The release that was trained, and the as-of time of its training (microseconds).
    of: str = ""
    as_of: int = 0
    #: Time of the refresh (microseconds).
    at: int = 0


class Sample(Record, frozen=True):
    """What was read into the process of a training, where that was not everything."""

    #: Share of the people, or of the rows.
    share: float = 1.0
    n_rows: int = 0
    #: What was learned from it, in words.
    used_for: str = ""


class Card(VersionedRecord, frozen=True):
    """Model card: what people need to know before a model goes live. `helps` and `could_harm` are required."""

    KIND: ClassVar[str] = "model card"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "learner")

    model: str = ""
    helps: str = ""
    could_harm: str = ""
    learner: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    evaluation: Evaluation | None = None
    #: Table -> version, and the number of training rows, users and items.
    data: dict[str, int] = msgspec.field(default_factory=dict)
    n_rows: int = 0
    n_users: int = 0
    n_items: int = 0
    #: Set if the model was trained on a part of the rows, or chosen on it.
    sample: Sample | None = None
    learned_at: int = 0
    as_of: int = 0
    #: Set if the model was refreshed: then `learned_at` and `evaluation` are of the training, all else is current.
    refreshed: RefreshOrigin | None = None
    #: Quality of a tabular model; a recommender has `evaluation`.
    assessment: Assessment | None = None
    #: Origin of a model trained elsewhere: `source`, `licence`, `revision`, `sha256`; otherwise empty.
    origin: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def measured(self) -> Evaluation | Assessment | None:
        """The quality of the model on its test; `None` if it was not evaluated."""
        return self.assessment or self.evaluation


class Rule(Record, frozen=True):
    """One built-in rule of a slate: its name and arguments."""

    name: str = ""
    args: dict[str, Any] = msgspec.field(default_factory=dict)


class RuleSet(Record, frozen=True):
    """The rules of a slate: retrieval, filtering, scoring, ordering, and the fallback."""

    retrieve: tuple[Rule, ...] = ()
    filter: tuple[Rule, ...] = ()
    score: tuple[Rule, ...] = ()
    order: tuple[Rule, ...] = ()
    fallback: Rule | None = None


class Release(VersionedRecord, frozen=True):
    """A model release: bundle, rules, card and provenance. Only releases can be served."""

    KIND: ClassVar[str] = "release"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "number", "bundle")

    #: Format 2 uses the kind names of `core.kinds`; readers of format 1 know only the former names.
    format: int = 2
    model: str = ""
    number: int = 0
    #: SHA-256 of the bundle's manifest, which is the bundle's name in the blob store.
    bundle: str = ""
    rules: RuleSet = RuleSet()
    #: Custom rules: path of the source module in the folder `modules` -> SHA-256.
    rule_modules: dict[str, str] = msgspec.field(default_factory=dict)
    #: Feature views that the rules read: view -> columns.
    facts: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    data: dict[str, int] = msgspec.field(default_factory=dict)
    #: Fingerprint of the code, the git commit if known, and the fingerprint of the environment.
    code: str = ""
    commit: str | None = None
    environment: str = ""
    card: Card = Card()
    created_at: int = 0
    log: Literal["available", "required"] = "available"
    #: SHA-256 of the manifest of the folder of rule modules; empty if all rules are built in.
    modules: str = ""
    #: Inputs and outputs of a model that predicts from a row; `None` for a recommender.
    signature: Signature | None = None
    #: The model family that trains and opens it; older releases do not name theirs.
    family: str = ""

    def __post_init__(self) -> None:
        if not self.family:
            msgspec.structs.force_setattr(self, "family", "tabular" if self.signature else "recommender")

    @property
    def name(self) -> str:
        """`for_you@3`."""
        return f"{self.model}@{self.number}"
