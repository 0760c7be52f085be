"""Realised quality: expected and actual outcome rates by release and position.

Reading many predictions is slow, so the sums are cached until the log has grown by a fiftieth.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.time_bins import bin_length, bin_start
from tidemill.core.record_format import Record
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.release import Release
from tidemill.feedback import OUTCOMES, PREDICTIONS, RealisedRate, realised_rates
from tidemill.feedback.live_rate import RatePeriod, live_rates
from tidemill.lake import LogWindow
from tidemill.loop.state.ledger_projection import ProjectedState

#: Number of positions shown; few users look further down a list.
POSITIONS = 20
#: Number of newest releases shown.
RELEASES = 4
_COLUMNS = ("prediction_id", "model", "release", "items", "served_at", "as_of")
_DAY_US = 86_400_000_000


class ReleaseOutcomes(Record, frozen=True):
    """Outcomes of one release: of the whole list, and by position."""

    release: str
    answers: int
    #: `None` and empty if so few predictions were made that a metric could reveal information about a person.
    whole: RealisedRate | None
    positions: tuple[RealisedRate, ...]


class OutcomeSummary(Record, frozen=True):
    """What outcomes say of a model: each release, newest first, and the live rate over time."""

    releases: tuple[ReleaseOutcomes, ...] = ()
    #: Length of an interval, microseconds, and the intervals with enough predictions, oldest first.
    length: int = 0
    rates: tuple[RatePeriod, ...] = ()


class OutcomeStore:
    """The cached sums of one console."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, OutcomeSummary]] = {}
        self._lock = threading.Lock()

    def outcomes(self, stores: ConsoleStores, projected: ProjectedState, model: str) -> OutcomeSummary:
        """Expected against actual rates for each release of `model` with predictions, and over time; empty without any
        outcome.
        """
        counts = [projected.kept[table].rows if table in projected.kept else 0 for table in (PREDICTIONS, OUTCOMES)]
        if not all(counts):
            return OutcomeSummary()
        with self._lock:
            known = self._known.get(model)
            if known is None or any(
                now < then or now > 1.02 * then for then, now in zip(known[:2], counts, strict=True)
            ):
                known = (counts[0], counts[1], _taken(stores, projected, model))
                self._known[model] = known
        return known[2]


def _taken(stores: ConsoleStores, projected: ProjectedState, model: str) -> OutcomeSummary:
    predictions, outcomes = stores.table(PREDICTIONS, LogWindow(_COLUMNS, "served_at")), stores.table(OUTCOMES)
    if predictions is None or outcomes is None:
        return OutcomeSummary()
    answered = predictions.filter(pc.equal(predictions["model"], model))
    if not answered.num_rows:
        return OutcomeSummary()
    known = projected.models.get(model)
    found = realised_rates(answered, outcomes, _promised([made for made, _ in known.releases] if known else []))
    ends = pc.min_max(answered["served_at"].cast(pa.int64())).as_py()
    length = bin_length(ends["min"], ends["max"], _DAY_US)
    rates = live_rates(answered, outcomes, length, bin_start(ends["min"], length))
    shown = tuple(one for one in rates if one.rate.shown >= FEWEST_USERS)
    return OutcomeSummary(releases=tuple(_grouped(found)), length=length, rates=shown)


def _promised(releases: Sequence[Release]) -> Mapping[str, float]:
    """Release -> hit rate over all users in its evaluation."""
    promised = {}
    for release in releases:
        evaluation = release.card.evaluation
        for part in evaluation.slices if evaluation else ():
            name = f"hit_rate@{evaluation.k}" if evaluation else ""
            if part.users == "all" and name in part.model:
                promised[release.name] = part.model[name].value
    return promised


def _grouped(found: Sequence[RealisedRate]) -> list[ReleaseOutcomes]:
    by_release: dict[str, list[RealisedRate]] = {}
    for one in found:
        by_release.setdefault(one.release, []).append(one)
    newest = sorted(by_release.items(), key=lambda one: _number(one[0]), reverse=True)[:RELEASES]
    return [_outcomes(release, rows[0], rows[1 : POSITIONS + 1]) for release, rows in newest]


def _outcomes(release: str, whole: RealisedRate, positions: Sequence[RealisedRate]) -> ReleaseOutcomes:
    if whole.shown < FEWEST_USERS:
        return ReleaseOutcomes(release=release, answers=whole.shown, whole=None, positions=())
    return ReleaseOutcomes(release=release, answers=whole.shown, whole=whole, positions=tuple(positions))


def _number(release: str) -> int:
    number = release.rpartition("@")[2]
    return int(number) if number.isdecimal() else 0
