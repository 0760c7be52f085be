"""Did they take what was shown: expected against actual, by release and position.

Reading all predictions takes a while once there are many, so a sum is kept until the log has grown by a fiftieth.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pyarrow.compute as pc

from tidemill.console.house import House
from tidemill.console.story import Told
from tidemill.core.records import FEWEST_USERS, Record
from tidemill.core.release import Release
from tidemill.feedback import OUTCOMES, PREDICTIONS, Actual, expected_against_actual

#: Positions that are shown; further down a list few look.
POSITIONS = 20
#: The newest releases that answered.
RELEASES = 4


class Taken(Record, frozen=True):
    """What became of the answers of one release: the whole list, and each position."""

    release: str
    answers: int
    #: `None` and nothing where so few were answered that a figure could tell of a person.
    whole: Actual | None
    positions: tuple[Actual, ...]


class TakenStore:
    """The sums of one console."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, tuple[Taken, ...]]] = {}
        self._lock = threading.Lock()

    def of(self, house: House, told: Told, model: str) -> tuple[Taken, ...]:
        """Expected against actual for each release of `model` that answered, newest first; empty while nothing came
        back.
        """
        counts = [told.kept[table].rows if table in told.kept else 0 for table in (PREDICTIONS, OUTCOMES)]
        if not all(counts):
            return ()
        with self._lock:
            known = self._known.get(model)
            if known is None or any(
                now < then or now > 1.02 * then for then, now in zip(known[:2], counts, strict=True)
            ):
                known = (counts[0], counts[1], _taken(house, told, model))
                self._known[model] = known
        return known[2]


def _taken(house: House, told: Told, model: str) -> tuple[Taken, ...]:
    predictions, outcomes = house.table(PREDICTIONS), house.table(OUTCOMES)
    if predictions is None or outcomes is None:
        return ()
    answered = predictions.filter(pc.equal(predictions["model"], model))
    known = told.models.get(model)
    found = expected_against_actual(
        answered, outcomes, _promised([made for made, _ in known.releases] if known else [])
    )
    return tuple(_grouped(found))


def _promised(releases: Sequence[Release]) -> Mapping[str, float]:
    """Release -> hit rate over all users that its evaluation measured."""
    promised = {}
    for release in releases:
        evaluation = release.card.evaluation
        for part in evaluation.slices if evaluation else ():
            name = f"hit_rate@{evaluation.k}" if evaluation else ""
            if part.users == "all" and name in part.model:
                promised[release.name] = part.model[name].value
    return promised


def _grouped(found: Sequence[Actual]) -> list[Taken]:
    by_release: dict[str, list[Actual]] = {}
    for one in found:
        by_release.setdefault(one.release, []).append(one)
    newest = sorted(by_release.items(), key=lambda one: _number(one[0]), reverse=True)[:RELEASES]
    return [_told(release, rows[0], rows[1 : POSITIONS + 1]) for release, rows in newest]


def _told(release: str, whole: Actual, positions: Sequence[Actual]) -> Taken:
    if whole.shown < FEWEST_USERS:
        return Taken(release=release, answers=whole.shown, whole=None, positions=())
    return Taken(release=release, answers=whole.shown, whole=whole, positions=tuple(positions))


def _number(release: str) -> int:
    number = release.rpartition("@")[2]
    return int(number) if number.isdecimal() else 0
