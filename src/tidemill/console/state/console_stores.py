"""Console stores: read-only access to the stores behind the console."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tidemill.core.clock import Clock
from tidemill.core.errors import NotPublished
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Latest
from tidemill.core.records.release import Release
from tidemill.core.records.runs import MetricPoint, Run, Trial

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill.lake import LakeSnapshot, LogWindow
    from tidemill.training import RunComparison


class ReleaseReader(Protocol):
    """The part of `Releases` that the console reads."""

    def __hash__(self) -> int:
        """By identity: what is read of a bundle is cached for each store."""
        ...

    def bundle(self, sha256: str) -> Path:
        """The verified folder of a bundle; `BundleCorrupt` where it is missing or damaged."""
        ...

    def verify(self, release: Release, *, deep: bool = True) -> None:
        """Raise if the release's files differ from what it pins."""
        ...


class RunReader(Protocol):
    """The part of `Runs` that the console reads."""

    def all(self, model: str | None = None) -> Sequence[Run]:
        """All runs, or those of one model, newest first, each in its current state."""
        ...

    def points(self, name: str) -> Sequence[MetricPoint]:
        """The logged metrics of `for_you#3`."""
        ...

    def trials(self, name: str) -> Sequence[Trial]:
        """The trials of `for_you#3`."""
        ...


class NoRuns:
    """The runs of a project without stored runs."""

    def all(self, model: str | None = None) -> Sequence[Run]:
        """No runs."""
        return ()

    def points(self, name: str) -> Sequence[MetricPoint]:
        """No points."""
        return ()

    def trials(self, name: str) -> Sequence[Trial]:
        """No trials."""
        return ()


class LogReader(Protocol):
    """The part of `Lake` that reads log tables."""

    def __call__(self, table: str, window: LogWindow | None = None, /) -> pa.Table | None:
        """The rows of a log table, or of a window of it; `None` if it does not exist yet."""
        ...


def _no_table(table: str, window: LogWindow | None = None) -> pa.Table | None:
    return None


def _no_snapshot(publication: int | None = None) -> LakeSnapshot:
    raise NotPublished("nothing is published yet", tip="`tidemill run` ingests the first increment")


def _no_problems() -> Sequence[str]:
    return ()


def _no_damage() -> Sequence[tuple[str, str]]:
    return ()


def _no_check() -> None:
    return None


@dataclass(frozen=True)
class ConsoleStores:
    """The stores of a project as seen by its console."""

    mill_name: str
    ledger: Ledger
    releases: ReleaseReader
    #: Pointers, switches and the release that each worker serves.
    serving_root: Path
    #: The clock of the ledger's entries, from which ages are computed.
    clock: Clock
    #: Models that mill.py declares, if known; models that only occur in the ledger are shown too.
    models: Sequence[str] = ()
    #: The current content of a table of the server's log (`predictions`, `outcomes`); `None` if it does not exist yet.
    table: LogReader = field(default=_no_table)
    #: The published tables as of a publication, by default the newest. Raises `NotPublished` before the first.
    snapshot: Callable[[int | None], LakeSnapshot] = field(default=_no_snapshot)
    #: The findings of the last verification of lake and ledger, as sentences; empty if there are none or none ran.
    problems: Callable[[], Sequence[str]] = field(default=_no_problems)
    #: View and damage of its online values, from the last look, because a look reads all of them.
    online_damage: Callable[[], Sequence[tuple[str, str]]] = field(default=_no_damage)
    #: Raises what is wrong with the vault.
    check_vault: Callable[[], None] = field(default=_no_check)
    #: The trainings, searches and evaluations.
    runs: RunReader = field(default_factory=NoRuns)
    #: The online store; `None` if it cannot be read.
    latest: Latest | None = None
    #: Compares runs by name, the others with the first; by default without the metrics of each user, so that
    #: nothing can be paired.
    compare: Callable[[Sequence[str]], RunComparison] | None = None

    @property
    def code_items_file(self) -> Path:
        """The action items of the code, as the last run found them."""
        return self.serving_root / "code_items.json"
