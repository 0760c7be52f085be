"""Components: state and age of each, in the order in which data flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tidemill.console.formatting import counted, day, number, through
from tidemill.core.record_format import Record
from tidemill.loop.state.ledger_projection import ProjectedState
from tidemill.loop.state.server_status import ServedModel

#: `well`: healthy; `look`: a person should check it; `waits`: it has no data yet.
State = Literal["well", "look", "waits"]


class RoomState(Record, frozen=True):
    """State of one component of the loop."""

    name: str
    state: State
    #: One sentence.
    says: str
    #: Time of its last ledger entry, in microseconds; `None` if it has none.
    at: int | None


def rooms(projected: ProjectedState, serving: Sequence[ServedModel], functions: int = 0) -> tuple[RoomState, ...]:
    """All components from `sources` to `feedback`; `functions` is the number of on-demand functions."""
    return (
        _sources(projected),
        _lake(projected),
        _checks(projected),
        _features(projected, functions),
        _models(projected),
        _training(projected),
        _release(projected),
        _serving(projected, serving),
        _feedback(projected),
    )


def _sources(projected: ProjectedState) -> RoomState:
    if not projected.streams:
        return _waits("sources", "No data received yet.")
    last = max(projected.streams.values(), key=lambda stream: stream.at).last.increment
    rows = counted(last.counts.arrived, "row")
    says = f"{counted(len(projected.streams), 'stream')}. Latest: {last.stream}, {day(last.day)}, {rows}."
    return RoomState(
        name="sources", state="well", says=says, at=max(stream.at for stream in projected.streams.values())
    )


def _lake(projected: ProjectedState) -> RoomState:
    if projected.publication is None:
        return _waits("lake", "Nothing published yet.")
    tables = counted(len(projected.publication.versions), "table")
    says = f"Publication {number(projected.publication.number)}: {tables}, data through {through(projected.as_of)}."
    return RoomState(name="lake", state="well", says=says, at=projected.published_at)


def _checks(projected: ProjectedState) -> RoomState:
    increments = [one for stream in projected.streams.values() for one in stream.increments.values()]
    if not increments:
        return _waits("checks", "No increment checked yet.")
    held = sum(one.held for one in increments)
    at = max(one.at for one in increments)
    if held:
        says = f"{counted(held, 'increment is', 'increments are')} held; later days are still published."
        return RoomState(name="checks", state="look", says=says, at=at)
    warned = sum(one.verdict.outcome == "warn" for one in increments)
    says = f"{counted(len(increments), 'increment')} checked, {number(warned)} with warnings, none held."
    return RoomState(name="checks", state="well", says=says, at=at)


def _features(projected: ProjectedState, functions: int) -> RoomState:
    computed = f"{counted(functions, 'on-demand function')}"
    if not projected.views and functions:
        return RoomState(name="features", state="well", says=f"{computed}.", at=projected.published_at)
    if not projected.views:
        return _waits("features", "No feature view materialised yet.")
    rows = sum(rows for _, rows, _ in projected.views.values())
    says = f"{counted(len(projected.views), 'view')}, {counted(rows, 'row')} online."
    says += f" {computed}." if functions else ""
    return RoomState(name="features", state="well", says=says, at=max(at for _, _, at in projected.views.values()))


def _models(projected: ProjectedState) -> RoomState:
    learned = [line for model in projected.models.values() for line in model.learned]
    if not learned:
        return _waits("models", "No model trained yet.")
    names = sum(bool(model.learned) for model in projected.models.values())
    says = f"{counted(names, 'model')}, {counted(len(learned), 'bundle')} trained."
    return RoomState(name="models", state="well", says=says, at=max(line.at for line in learned))


def _training(projected: ProjectedState) -> RoomState:
    releases = [pair for model in projected.models.values() for pair in model.releases]
    if not releases:
        return _waits("training", "No release created yet.")
    release, line = max(releases, key=lambda pair: pair[1].at)
    rows, until = counted(release.card.n_rows, "row"), through(release.card.as_of)
    says = f"Latest: {release.card.model}, trained on {rows}, data through {until}."
    return RoomState(name="training", state="well", says=says, at=line.at)


def _release(projected: ProjectedState) -> RoomState:
    changes = [change for model in projected.models.values() for change in model.changes if change.release]
    if not changes:
        return _waits("release", "No champion yet.")
    last = max(reversed(changes), key=lambda change: change.at)  # of two at the same instant the later one
    did = "rolled back to" if last.what == "rollback" else "promoted"
    return RoomState(name="release", state="well", says=f"{last.account} {did} {last.release}.", at=last.at)


def _serving(projected: ProjectedState, serving: Sequence[ServedModel]) -> RoomState:
    live = [model for model in serving if model.release]
    at = max((model.since for model in projected.models.values() if model.since), default=None)
    if not live:
        return _waits("serving", "No live model yet.")
    broken = next((model.problem for model in serving if model.problem), None)
    off = [model.model for model in live if model.off]
    running = max(model.workers for model in serving)
    if broken:
        return RoomState(name="serving", state="look", says=broken, at=at)
    if off:
        return RoomState(name="serving", state="look", says=f"{', '.join(off)} is switched off.", at=at)
    if not running:
        return RoomState(name="serving", state="waits", says="No server is running.", at=at)
    says = f"{counted(running, 'worker serves', 'workers serve')} {counted(len(live), 'model')}."
    return RoomState(name="serving", state="well", says=says, at=at)


def _feedback(projected: ProjectedState) -> RoomState:
    predictions, outcomes = projected.kept.get("predictions"), projected.kept.get("outcomes")
    if predictions is None:
        return _waits("feedback", "No prediction logged yet.")
    logged = f"{counted(predictions.rows, 'prediction')} logged"
    if outcomes is None:
        return RoomState(name="feedback", state="well", says=f"{logged}, no feedback received yet.", at=predictions.at)
    says = f"{logged}, {counted(outcomes.rows, 'outcome')} received."
    return RoomState(name="feedback", state="well", says=says, at=max(predictions.at, outcomes.at))


def _waits(name: str, says: str) -> RoomState:
    return RoomState(name=name, state="waits", says=says, at=None)
