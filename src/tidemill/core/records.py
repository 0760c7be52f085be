"""Records that pass between rooms: plain, frozen, JSON both ways.

Times are UTC microseconds; a share is between 0 and 1. A record that goes into the ledger is written there as its JSON
text, because the ledger's canonical bytes hold no floats.
"""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record as Record
from tidemill.core.record_format import VersionedRecord

Outcome3 = Literal["pass", "warn", "hold"]


class Failure(Record, frozen=True):
    """One expectation that was not met."""

    #: The table or stream, and the expectation in words, for example `between(rating, 1, 5, share=0.95)`.
    table: str = ""
    check: str = ""
    column: str | None = None
    #: How many rows were looked at.
    n: int = 0
    observed: float = 0.0
    #: The expected range of `observed`, both ends included; `None` is open.
    low: float | None = None
    high: float | None = None
    #: Learned false alarms per day; `None` where nothing was learned.
    false_alarms: float | None = None
    severity: Literal["warn", "hold"] = "warn"
    #: One sentence for people.
    says: str = ""


class Verdict(VersionedRecord, frozen=True):
    """What the checks think of one increment: every failure, not the first."""

    KIND: ClassVar[str] = "verdict"
    REQUIRED: ClassVar[tuple[str, ...]] = ("outcome",)

    outcome: Outcome3 = "pass"
    failures: tuple[Failure, ...] = ()
    #: How many expectations were evaluated.
    checked: int = 0
    #: What is worth saying though nothing failed, such as a learned check that is still warming up.
    notes: tuple[str, ...] = ()
    #: What learned expectations observed of this increment, for the history of the ones to come.
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class Counts(Record, frozen=True):
    """Rows of one increment, from arrival to table."""

    #: Lines or messages that arrived, good and refused.
    arrived: int = 0
    #: Refused by the parser or the contract; they lie in quarantine.
    refused: int = 0
    #: Rows whose key occurred before, in this increment or in the table, with the same values.
    repeated: int = 0
    #: Rows whose key occurred before with other values; the largest `_row` wins.
    contradicted: int = 0
    #: Rows added to the stream's table.
    merged: int = 0


class Increment(VersionedRecord, frozen=True):
    """One day of one stream, or one declared backfill."""

    KIND: ClassVar[str] = "increment"
    REQUIRED: ClassVar[tuple[str, ...]] = ("stream", "number")

    stream: str = ""
    #: Numbered per stream in order of arrival, from 1.
    number: int = 0
    day: date = date.min
    #: As-of in microseconds: the end of its day in the stream's zone.
    as_of: int = 0
    backfill: bool = False
    arrived_at: int = 0
    #: Smallest and largest event time, `None` for an increment without rows.
    first_event: int | None = None
    last_event: int | None = None
    counts: Counts = Counts()
    #: Earlier form of what its sources had read: file number -> lines. Today the ledger line names a source state.
    positions: dict[str, int] = msgspec.field(default_factory=dict)
    #: sha256 over the salted hashes of its rows, in `_row` order.
    commitment: str = ""
    #: The publication whose rows this one stands for, and the increment whose rows; `None`: it brings rows of its own.
    replaces_publication: int | None = None
    replaces_increment: int | None = None
    #: Earlier form of `replaces_increment`, which it is read into; always `None`.
    replaces: int | None = None

    def __post_init__(self) -> None:
        if self.replaces is not None:
            msgspec.structs.force_setattr(self, "replaces_increment", self.replaces)
            msgspec.structs.force_setattr(self, "replaces", None)


class FileEntry(Record, frozen=True):
    """One data file of a table version, as the manifest keeps it."""

    path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    rows: int = 0


class Publication(VersionedRecord, frozen=True):
    """One increment in all tables at once."""

    KIND: ClassVar[str] = "publication"
    REQUIRED: ClassVar[tuple[str, ...]] = ("number", "versions")

    number: int = 0
    as_of: int = 0
    stream: str = ""
    increment: int = 0
    verdict: Verdict = Verdict()
    #: Table -> Delta version after this publication, for every table of the graph.
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    #: Table -> sha256 of the manifest of that version.
    manifests: dict[str, str] = msgspec.field(default_factory=dict)


class Metric(Record, frozen=True):
    """A figure with its 95% interval over users."""

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0


#: Figures of fewer users than this are kept and shown nowhere: they could tell of a person.
FEWEST_USERS = 10


class Slice(Record, frozen=True):
    """Quality on one group of test users or of targets, the model beside popularity."""

    #: `all`, `warm` (with history before the split), `cold`, or the name of a part, for example `2-4 events`.
    users: str = ""
    n_users: int = 0
    #: Empty where there are too few users to say anything; `note` says so.
    model: dict[str, Metric] = msgspec.field(default_factory=dict)
    baseline: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: Model minus baseline, paired over the same users.
    difference: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: What a part is cut by: `history`, `recency`, `target popularity`, `target` or `group`.
    family: str = ""
    note: str = ""
    #: Measure -> p of a paired sign-flip test of the difference, and the same after Holm over all slices and measures.
    p: dict[str, float] = msgspec.field(default_factory=dict)
    p_holm: dict[str, float] = msgspec.field(default_factory=dict)


class Lists(Record, frozen=True):
    """What kind of items stand in lists, or were taken; `None` where nothing that was trained on stands there."""

    #: Mean training events of an item, and mean share of the catalogue's items with fewer (0 to 1).
    popularity: float | None = None
    percentile: float | None = None
    #: Share of the places that the head holds: the most taken items, which together have a third of the events.
    head_share: float | None = None
    #: Of places over items of the catalogue: 0 where all have as many, near 1 where few have all.
    gini: float | None = None
    #: As in `Evaluation`.
    coverage: float = 0.0
    novelty: float | None = None
    diversity: float | None = None


class Exposure(Record, frozen=True):
    """One group of items: its share of attention in the lists beside its share of what was taken."""

    #: What items are grouped by, the group, and how many items of the catalogue it has.
    by: str = ""
    group: str = ""
    n_items: int = 0
    #: Shares of all attention (a place counts 1/log2(1 + place)), of the model and of popularity, and of the targets.
    shown: Metric = Metric()
    baseline: Metric = Metric()
    taken: Metric = Metric()
    #: `shown` over `taken`: 1 is proportionate; `None` where nothing of the group was taken.
    ratio: Metric | None = None


class Evaluation(Record, frozen=True):
    """How good a model is on events later than everything that it learned from."""

    model: str = ""
    baseline: str = ""
    #: Train ends before this time; test starts at it (microseconds).
    split_at: int = 0
    #: The convention of history and targets, in words.
    protocol: str = ""
    k: int = 0
    slices: tuple[Slice, ...] = ()
    #: Share of the catalogue recommended, mean self-information in bits, mean pairwise distance within a list;
    #: `None` where there is nothing to take a mean of.
    coverage: float = 0.0
    novelty: float | None = None
    diversity: float | None = None
    #: Settings tried on validation days with their score, best first; test was never looked at.
    validation: tuple[dict[str, Any], ...] = ()
    #: The protocol word by word: `split`, `history`, `target`, `seen`, `ties`.
    conventions: dict[str, str] = msgspec.field(default_factory=dict)
    #: Finer slices, each of one family, and a sentence that names the worst of them.
    parts: tuple[Slice, ...] = ()
    worst: str = ""
    #: Questions that were asked; more than users where each later event is one.
    n_questions: int = 0
    #: Share of targets never trained on, and share of later events that repeat an item of the user's history.
    cold_targets: float | None = None
    repeats: float | None = None
    #: What stands in the lists of the `model` and of the `baseline`, and what was `taken`.
    lists: dict[str, Lists] = msgspec.field(default_factory=dict)
    exposure: tuple[Exposure, ...] = ()
    #: What may make these figures too good, or not comparable: sentences with numbers.
    warnings: tuple[str, ...] = ()


class Answered(Record, frozen=True):
    """One item of an answer."""

    item: str = ""
    score: float = 0.0
    reason: str = ""


#: How many names of `exclude` and of `candidates` a prediction keeps.
LOGGED_ITEMS = 256
#: The format of predictions and outcomes. A new field with a default does not raise it; a changed meaning does.
LOG_FORMAT = 2


class Prediction(Record, frozen=True):
    """One answer: what was asked, what was used, what was said, by which release."""

    prediction_id: str = ""
    model: str = ""
    release: str = ""
    #: Id of the deployment and its arm; the deployment is empty in records of format 1.
    deployment: str = ""
    arm: str = "champion"
    #: Id of the routing policy that chose the arm. In format 1 the state of the switch stood here.
    policy: str = "single"
    #: `off` where the model was switched off and answered by its fallback, or not at all.
    switch: Literal["on", "off"] = "on"
    #: Probability that the policy gave this arm; and of each item to stand at its position, where items are drawn.
    propensity: float = 1.0
    item_propensities: tuple[float, ...] | None = None
    #: When it was answered, microseconds; the clock of the server, and its as-of.
    served_at: int = 0
    as_of: int = 0
    #: The subject's surrogate; the raw identifier is nowhere.
    subject: str = ""
    n: int = 0
    #: Items that were not allowed, and the only ones that were (`None`: the whole catalogue): the first
    #: `LOGGED_ITEMS` of each, and how many there were. A repeat has none; its full record has them.
    exclude: tuple[str, ...] = ()
    n_exclude: int = 0
    candidates: tuple[str, ...] | None = None
    n_candidates: int = 0
    items: tuple[Answered, ...] = ()
    short: str | None = None
    #: Features used, and context, as JSON text.
    features: str = ""
    context: str = ""
    #: Number of the publication that the features were made from; 0 where it is not known.
    publication: int = 0
    #: Trace id of the request's W3C `traceparent` header, 32 hex digits; empty where there was none.
    trace_id: str = ""
    latency_us: int = 0
    #: `computed`, `repeat` (the same id within its slot), `not_modified`, `fallback` or `off`.
    kind: str = "computed"
    format: int = LOG_FORMAT


class Outcome(Record, frozen=True):
    """What really happened after a prediction, whenever it arrives."""

    prediction_id: str = ""
    item: str = ""
    what: str = ""
    value: float = 1.0
    #: The true class or text, where the outcome is not a number.
    label: str | None = None
    happened_at: int = 0
    received_at: int = 0
    #: The prediction's model and the UTC day on which it was served, where whoever reports the outcome says so.
    model: str = ""
    served_day: date | None = None
    format: int = LOG_FORMAT


class Point(Record, frozen=True):
    """One figure of a run while it ran."""

    #: What it is (`loss`, `hit_rate@10`), how far the run was when it stood there, and when (microseconds).
    name: str = ""
    step: int = 0
    value: float = 0.0
    at: int = 0


class Cost(Record, frozen=True):
    """What a run took of the machine: seconds by the clock, CPU seconds with those of its processes, peak memory."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0


class Trial(VersionedRecord, frozen=True):
    """One combination of settings that a search tried."""

    KIND: ClassVar[str] = "trial"
    REQUIRED: ClassVar[tuple[str, ...]] = ("number", "parameters")

    #: From 0, in the order in which they were proposed.
    number: int = 0
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    #: `pruned`: given up early; `late`: the deadline came first; `failed`: `says` tells why.
    state: Literal["finished", "pruned", "failed", "late"] = "finished"
    #: The figure that is made as large as possible, `None` where there is none.
    value: float | None = None
    #: The figure on each validation window, in their order, as far as it came.
    steps: tuple[float, ...] = ()
    cpu_s: float = 0.0
    wall_s: float = 0.0
    says: str = ""


class Run(VersionedRecord, frozen=True):
    """Something that was learned or measured, told so that it can be compared and done again."""

    KIND: ClassVar[str] = "run"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "number")

    #: The model that it is about, and its number among that model's runs, from 1.
    model: str = ""
    number: int = 0
    kind: Literal["train", "search", "auto", "refresh", "evaluate", "notebook"] = "train"
    #: `stopped`: it ended without a word, because it was killed.
    state: Literal["running", "finished", "failed", "stopped"] = "finished"
    started_at: int = 0
    ended_at: int | None = None
    learner: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    #: Table -> version that it read, and the as-of of that publication (microseconds, 0: none).
    data: dict[str, int] = msgspec.field(default_factory=dict)
    as_of: int = 0
    #: Fingerprint of the code, the commit and whether files differ from it, and the environment's fingerprint.
    code: str = ""
    commit: str | None = None
    changed: bool = False
    environment: str = ""
    #: Its figures at the end, each with an interval where there is one (else both ends are the value).
    metrics: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: Ref of each thing that it left: `bundle`, `release`, `figures` (per-user figures, for paired comparison).
    artefacts: dict[str, str] = msgspec.field(default_factory=dict)
    cost: Cost | None = None
    #: How many trials it kept, and the number of the best one.
    trials: int = 0
    best: int | None = None
    notes: tuple[str, ...] = ()
    #: Why it failed.
    says: str = ""

    @property
    def name(self) -> str:
        """`for_you#3`."""
        return f"{self.model}#{self.number}"
