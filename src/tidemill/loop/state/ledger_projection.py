"""Ledger projection: the state of each component, folded from the ledger entry by entry as it grows.

A page that refreshes every few seconds must not read 100,000 entries each time: only new entries are read. If the
ledger cannot be read, the state stays unchanged and `problem` has the reason.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tidemill.core.errors import LedgerError, message_of
from tidemill.core.identity.account import Account
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.record_format import decode_record
from tidemill.core.records.gate import GateVerdict
from tidemill.core.records.ingest import Increment, Publication, Verdict
from tidemill.core.records.release import Release
from tidemill.release.release_history import promotion_of

#: Frequent acts that would push out the acts of people; the end of a run is shown, its beginning is not.
_HIDDEN_ACTS = {"log", "run-begin", "run-points", "trial"}
#: Number of recent entries kept.
RECENT = 80
#: Number of materialisations kept per view.
VERSIONS = 30


@dataclass
class IncrementProjection:
    """An increment and its state."""

    increment: Increment
    verdict: Verdict
    at: int
    held: bool


@dataclass
class StreamProjection:
    """A stream: its increments by number, and the time of the last one."""

    name: str
    increments: dict[int, IncrementProjection] = field(default_factory=dict)
    at: int = 0

    @property
    def held(self) -> list[IncrementProjection]:
        """Increments that wait for a decision, oldest first."""
        return [one for _, one in sorted(self.increments.items()) if one.held]

    @property
    def last(self) -> IncrementProjection:
        """The increment that arrived last."""
        return self.increments[max(self.increments)]


@dataclass
class ChampionChange:
    """A promotion, a rollback, or a use of the kill switch."""

    at: int
    account: Account
    #: `promote`, `rollback`, `off` or `on`; and the release, empty for the kill switch.
    what: str
    release: str = ""
    before: str = ""
    #: What the gate checked; `None` in entries of older versions, and for the kill switch.
    verdict: GateVerdict | None = None


@dataclass
class ModelProjection:
    """A model: its trained bundles, its releases, and changes of its champion."""

    name: str
    learned: list[LedgerEntry] = field(default_factory=list)
    releases: list[tuple[Release, LedgerEntry]] = field(default_factory=list)
    changes: list[ChampionChange] = field(default_factory=list)

    @property
    def champion(self) -> Release | None:
        """The release that the last promotion or rollback made live."""
        promoted = [change.release for change in self.changes if change.release]
        return next((release for release, _ in self.releases if promoted and release.name == promoted[-1]), None)

    @property
    def learned_live(self) -> Release | None:
        """The release whose training produced the live one: the champion, or the one that it is a refresh of."""
        live = self.champion
        if live is None or live.card.refreshed is None:
            return live
        return next((release for release, _ in self.releases if release.name == live.card.refreshed.of), live)

    @property
    def since(self) -> int | None:
        """The time at which the champion became live."""
        return next((change.at for change in reversed(self.changes) if change.release), None)


@dataclass(frozen=True)
class TableVersion:
    """A version of a table: its number, the first publication with it, its as-of, and the time of the publication."""

    version: int
    publication: int
    as_of: int
    at: int


@dataclass
class LoggedRows:
    """Rows that the server logged in a table."""

    rows: int = 0
    at: int = 0


@dataclass
class ProjectedState:
    """The folded state."""

    seq: int = 0
    hash: str = ""
    streams: dict[str, StreamProjection] = field(default_factory=dict)
    publication: Publication | None = None
    #: The data time of the tables: the largest as-of so far, because a held day may be accepted late.
    as_of: int = 0
    published_at: int | None = None
    #: Table -> its versions, oldest first.
    tables: dict[str, list[TableVersion]] = field(default_factory=dict)
    #: View -> (source publication, rows, time).
    views: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    #: View -> the entries that wrote it, newest last.
    made: dict[str, deque[LedgerEntry]] = field(default_factory=dict)
    models: dict[str, ModelProjection] = field(default_factory=dict)
    kept: dict[str, LoggedRows] = field(default_factory=dict)
    recent: deque[LedgerEntry] = field(default_factory=lambda: deque(maxlen=RECENT))


class LedgerProjection:
    """The fold over a ledger; `projected` is its state, `problem` the reason why it could not continue."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.projected = ProjectedState()
        self.problem: str | None = None

    def catch_up(self) -> ProjectedState:
        """Fold new entries; all of them after the ledger was replaced by another one."""
        try:
            head = self._ledger.head()
            if head.seq < self.projected.seq or (head.seq == self.projected.seq and head.hash != self.projected.hash):
                self.projected = ProjectedState()
            for line in self._ledger.find(after=self.projected.seq) if head.seq > self.projected.seq else ():
                self._fold(line)
            self.problem = None
        except (LedgerError, OSError) as error:
            self.problem = message_of(error)
        return self.projected

    def _fold(self, line: LedgerEntry) -> None:
        fold = _FOLDS.get(line.act)
        if fold is not None:
            fold(self.projected, line)
        if line.act not in _HIDDEN_ACTS:
            self.projected.recent.appendleft(line)
        self.projected.seq, self.projected.hash = line.seq, line.hash


def _publish(projected: ProjectedState, line: LedgerEntry) -> None:
    publication = decode_record(line.details["publication"], Publication)
    projected.publication, projected.published_at = publication, line.at
    projected.as_of = max(projected.as_of, publication.as_of)
    for table, version in publication.versions.items():
        known = projected.tables.setdefault(table, [])
        if not known or known[-1].version != version:
            known.append(TableVersion(version, publication.number, projected.as_of, line.at))
    if "increment" in line.details:
        increment = decode_record(line.details["increment"], Increment)
        _arrived(projected, line, IncrementProjection(increment, publication.verdict, line.at, held=False))


def _hold(projected: ProjectedState, line: LedgerEntry) -> None:
    increment = decode_record(line.details["increment"], Increment)
    verdict = decode_record(line.details["verdict"], Verdict)
    _arrived(projected, line, IncrementProjection(increment, verdict, line.at, held=True))


def _accept(projected: ProjectedState, line: LedgerEntry) -> None:
    stream = projected.streams.get(line.about.removeprefix("stream:"))
    one = stream.increments.get(int(line.details["number"])) if stream else None
    if one is not None:
        one.held = False


def _arrived(projected: ProjectedState, line: LedgerEntry, one: IncrementProjection) -> None:
    name = line.about.removeprefix("stream:")
    stream = projected.streams.setdefault(name, StreamProjection(name))
    stream.at = line.at
    stream.increments[one.increment.number] = one
    settled = stream.increments.get(one.increment.replaces_increment or 0)
    if settled is not None and settled is not one:
        settled.held = False


def _features(projected: ProjectedState, line: LedgerEntry) -> None:
    projected.views[line.about.removeprefix("view:")] = (
        int(line.details["publication"]),
        int(line.details["rows"]),
        line.at,
    )
    projected.made.setdefault(line.about.removeprefix("view:"), deque(maxlen=VERSIONS)).append(line)


def _model(projected: ProjectedState, line: LedgerEntry) -> ModelProjection:
    name = line.about.removeprefix("model:")
    return projected.models.setdefault(name, ModelProjection(name))


def _learn(projected: ProjectedState, line: LedgerEntry) -> None:
    _model(projected, line).learned.append(line)


def _release(projected: ProjectedState, line: LedgerEntry) -> None:
    _model(projected, line).releases.append((decode_record(line.details["release"], Release), line))


def _promote(projected: ProjectedState, line: LedgerEntry) -> None:
    one = promotion_of(line)
    change = ChampionChange(one.at, one.account, one.why, one.release, one.before, one.verdict)
    _model(projected, line).changes.append(change)


def _switch(projected: ProjectedState, line: LedgerEntry) -> None:
    # an entry of an older version names the person in its details: its account is the process that wrote it
    account = Account(name=line.details["who"]) if line.details.get("who") else line.account
    _model(projected, line).changes.append(ChampionChange(line.at, account, line.act))


def _log(projected: ProjectedState, line: LedgerEntry) -> None:
    kept = projected.kept.setdefault(line.about.removeprefix("table:"), LoggedRows())
    kept.rows += int(line.details["rows"])
    kept.at = line.at


_FOLDS = {
    "publish": _publish,
    "hold": _hold,
    "accept": _accept,
    "features": _features,
    "learn": _learn,
    "release": _release,
    "promote": _promote,
    "off": _switch,
    "on": _switch,
    "log": _log,
}
