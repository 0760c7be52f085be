"""Records of runs: metric points, cost, trials, runs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record as Record
from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.quality import Metric


class MetricPoint(Record, frozen=True):
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
