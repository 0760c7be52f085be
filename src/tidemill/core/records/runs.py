"""Records of runs: metric points, cost, trials, runs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record as Record
from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.quality import Metric


class MetricPoint(Record, frozen=True):
    """One value of a metric logged during a run."""

    #: Metric (`loss`, `hit_rate@10`), step of the run, value, and time (microseconds).
    name: str = ""
    step: int = 0
    value: float = 0.0
    at: int = 0


class Cost(Record, frozen=True):
    """Resources used by a run: wall-clock seconds, CPU seconds including child processes, and peak memory."""

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
    #: `pruned`: stopped early; `late`: not finished before the deadline; `failed`: `says` has the reason.
    state: Literal["finished", "pruned", "failed", "late"] = "finished"
    #: The objective, which is maximised; `None` if there is none.
    value: float | None = None
    #: The objective on each completed validation window, in order.
    steps: tuple[float, ...] = ()
    cpu_s: float = 0.0
    wall_s: float = 0.0
    says: str = ""


class Run(VersionedRecord, frozen=True):
    """A training or measurement with everything needed to compare and repeat it."""

    KIND: ClassVar[str] = "run"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "number")

    #: The model, and the number of the run within the model, from 1.
    model: str = ""
    number: int = 0
    kind: Literal["train", "search", "auto", "refresh", "evaluate", "notebook"] = "train"
    #: `stopped`: it was killed and recorded no end.
    state: Literal["running", "finished", "failed", "stopped"] = "finished"
    started_at: int = 0
    ended_at: int | None = None
    learner: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    #: Table -> version read, and the as-of time of that publication (microseconds; 0: none).
    data: dict[str, int] = msgspec.field(default_factory=dict)
    as_of: int = 0
    #: Fingerprint of the code, the git commit, whether files differ from it, and the environment's fingerprint.
    code: str = ""
    commit: str | None = None
    changed: bool = False
    environment: str = ""
    #: Final metrics, each with its interval; without one, both ends are the value.
    metrics: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: Refs of the artifacts: `bundle`, `release`, `figures` (per-user metrics for paired comparison).
    artefacts: dict[str, str] = msgspec.field(default_factory=dict)
    cost: Cost | None = None
    #: Number of stored trials, and the number of the best one.
    trials: int = 0
    best: int | None = None
    notes: tuple[str, ...] = ()
    #: In alphabetical order; can be changed after the run has ended.
    tags: tuple[str, ...] = ()
    #: The reason of a failure.
    says: str = ""

    @property
    def name(self) -> str:
        """`for_you#3`."""
        return f"{self.model}#{self.number}"
