"""Console stores: the stores that the console reads; it can change none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tidemill.core.clock import Clock
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Latest
from tidemill.core.records.release import Release
from tidemill.core.records.runs import MetricPoint, Run, Trial

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill.training import RunComparison


class ReleaseReader(Protocol):
    """The part of `Releases` that the console reads."""

    def verify(self, release: Release, *, deep: bool = True) -> None:
        """Pass if the release's files are what it pins."""
        ...


class RunReader(Protocol):
    """The part of `Runs` that the console reads."""

    def all(self, model: str | None = None) -> Sequence[Run]:
        """All runs, or those of one model, newest first, each as it is now."""
        ...

    def points(self, name: str) -> Sequence[MetricPoint]:
        """The figures of `for_you#3` while it ran."""
        ...

    def trials(self, name: str) -> Sequence[Trial]:
        """The combinations of settings that `for_you#3` tried."""
        ...


class NoRuns:
    """The runs of a mill that kept none."""

    def all(self, model: str | None = None) -> Sequence[Run]:
        """Nothing."""
        return ()

    def points(self, name: str) -> Sequence[MetricPoint]:
        """Nothing."""
        return ()

    def trials(self, name: str) -> Sequence[Trial]:
        """Nothing."""
        return ()


def _no_table(table: str) -> pa.Table | None:
    return None


def _no_problems() -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class ConsoleStores:
    """The rooms of a mill as its console sees them."""

    mill_name: str
    ledger: Ledger
    releases: ReleaseReader
    #: Pointers, switches and what each worker answers from.
    serving_root: Path
    #: The clock of the ledger's lines: ages are counted from it.
    clock: Clock
    #: Models that mill.py declares, where known; those that the ledger names are shown besides.
    models: Sequence[str] = ()
    #: A table of the server's log (`predictions`, `outcomes`) as it is now; `None` where it does not exist yet.
    table: Callable[[str], pa.Table | None] = field(default=_no_table)
    #: What the last verification of lake and ledger found, as sentences; empty where all was well or none ran.
    problems: Callable[[], Sequence[str]] = field(default=_no_problems)
    #: What was learned, searched and measured.
    runs: RunReader = field(default_factory=NoRuns)
    #: What answers look up; `None` where it cannot be read.
    latest: Latest | None = None
    #: Runs side by side, by their names, the first being what the others are held against; unless given, they are
    #: compared without the figures of each user, so that nothing can be paired.
    compare: Callable[[Sequence[str]], RunComparison] | None = None
