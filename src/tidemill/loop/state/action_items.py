"""Action items: problems and decisions that need a person, most urgent first, each with a command to type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from tidemill.core.errors import ReleaseError
from tidemill.core.formatting import count as counted
from tidemill.core.formatting import day, through
from tidemill.core.record_format import Record
from tidemill.core.records.release import Release
from tidemill.loop.release.card_review import review_card
from tidemill.loop.state.ledger_projection import (
    IncrementProjection,
    ModelProjection,
    ProjectedState,
    StreamProjection,
)
from tidemill.loop.state.server_status import ServedModel

#: Maximum number of held increments of one stream that are listed individually.
_LISTED = 3
#: Number of the last increments of a stream whose damaged events are shown.
_RECENT = 7


class ActionCommand(Record, frozen=True):
    """A command to type, and its effect."""

    text: str = ""
    does: str = ""


class ActionItem(Record, frozen=True):
    """One required action."""

    #: `broken` is a failure, `decide` waits for a decision, `hint` can wait.
    weight: Literal["broken", "decide", "hint"] = "hint"
    what: str = ""
    why: tuple[str, ...] = ()
    commands: tuple[ActionCommand, ...] = ()


class CodeItem(Record, frozen=True):
    """An action item about a champion that follows from the code in mill.py; void once another release is champion."""

    release: str = ""
    item: ActionItem = ActionItem()


def action_items(
    projected: ProjectedState,
    serving: Sequence[ServedModel],
    models: Sequence[str],
    *,
    verify: Callable[[Release], None],
    problems: Sequence[str] = (),
    unread: str | None = None,
    of_code: Sequence[CodeItem] = (),
    storage: Sequence[ActionItem] = (),
) -> tuple[ActionItem, ...]:
    """All action items, most urgent first: those of `tidemill status`, and of the console.

    `verify` raises if a release's files are damaged, `unread` is the reason why the ledger could not be read,
    `problems` are the findings of the last verification, `of_code` the items that need mill.py, and `storage` those
    about the project's own files.
    """
    found = [*_unread(unread), *_problems(problems), *storage]
    found += [need for model in projected.models.values() for need in _damaged(model, verify)]
    found += [need for one in serving for need in _pointers(one, projected)]
    found += [need for stream in projected.streams.values() for need in _held(stream.name, stream.held)]
    found += [need for stream in projected.streams.values() for need in _damaged_events(stream)]
    found += [need for one in serving if one.off for need in _off(one, projected.models.get(one.model))]
    if projected.publication is None:
        found.append(
            _need(
                "decide", "No data has been ingested yet", (), ("tidemill run --backfill", "ingest the existing data")
            )
        )
    else:
        found += [need for name in models for need in _unserved(name, projected.models.get(name))]
    found += [one.item for one in of_code if _is_champion(projected, one.release)]
    found += [need for model in projected.models.values() for need in _unreviewed(model)]
    found += [need for model in projected.models.values() for need in _warned(model)]
    found += [need for model in projected.models.values() for need in _candidate(model)]
    order = {"broken": 0, "decide": 1, "hint": 2}
    return tuple(sorted(found, key=lambda need: order[need.weight]))


def _is_champion(projected: ProjectedState, release: str) -> bool:
    model = projected.models.get(release.partition("@")[0])
    return model is not None and model.champion is not None and model.champion.name == release


def _need(
    weight: Literal["broken", "decide", "hint"], what: str, why: Sequence[str], *commands: tuple[str, str]
) -> ActionItem:
    actions = tuple(ActionCommand(text=text, does=does) for text, does in commands)
    return ActionItem(weight=weight, what=what, why=tuple(why), commands=actions)


def _unread(unread: str | None) -> list[ActionItem]:
    if unread is None:
        return []
    why = [unread, "Serving continues. This page shows the last state that could be read."]
    return [_need("broken", "The ledger cannot be read", why, ("tidemill verify", "report the first invalid entry"))]


def _problems(problems: Sequence[str]) -> list[ActionItem]:
    if not problems:
        return []
    what = f"Verification found {counted(len(problems), 'problem')}"
    verify = ("tidemill verify", "verify every store again, and list all problems")
    return [_need("broken", what, problems[:5], verify)]


def _damaged(model: ModelProjection, verify: Callable[[Release], None]) -> list[ActionItem]:
    champion = model.champion
    if champion is None:
        return []
    try:
        verify(champion)
    except ReleaseError as error:
        back = (f"tidemill rollback {model.name}", "roll back to the previous release")
        return [_need("broken", f"The bundle of {champion.name} is damaged", [error.message], back)]
    return []


def _pointers(one: ServedModel, projected: ProjectedState) -> list[ActionItem]:
    if one.problem is not None and one.unreadable:
        repair = ("tidemill run", "write it again from the ledger")
        return [_need("broken", f"The deployment of {one.model} cannot be read", [one.problem], repair)]
    if one.problem is not None:
        back = (f"tidemill rollback {one.model}", "roll back to the previous release")
        keeps = [f"{one.release} keeps serving."] if one.release and one.release != one.promoted else []
        return [_need("broken", f"The server reports a problem with {one.model}", [one.problem, *keeps], back)]
    model = projected.models.get(one.model)
    champion = model.champion if model else None
    if champion is None or one.promoted == champion.name:
        return []
    why = f"The server has {one.promoted or 'no release'}; the ledger has {champion.name}."
    return [
        _need(
            "broken",
            f"The deployment of {one.model} is behind the ledger",
            [why],
            ("tidemill run", "update the deployment"),
        )
    ]


def _damaged_events(stream: StreamProjection) -> list[ActionItem]:
    """Events that the last increments of a stream lost, because the log was damaged on disk."""
    recent = [stream.increments[number].increment for number in sorted(stream.increments)[-_RECENT:]]
    found = [one for one in recent if one.counts.damaged]
    if not found:
        return []
    what = f"{counted(sum(one.counts.damaged for one in found), 'posted event')} of {stream.name} damaged on disk"
    numbers = ", ".join(str(one.number) for one in found)
    why = ["All others were ingested.", f"The bytes are in the quarantine of increment {numbers}.", "Check the disk."]
    return [_need("broken", what, why, (f"tidemill check {stream.name} --refused", "list the damaged places"))]


def _held(stream: str, held: Sequence[IncrementProjection]) -> list[ActionItem]:
    found = []
    for one in held[:_LISTED]:
        n = one.increment.number
        found.append(
            _need(
                "decide",
                f"{stream} of {day(one.increment.day)}, increment {n}, is held",
                [failure.says for failure in one.verdict.failures if failure.severity == "hold"],
                (f"tidemill check {stream} --replace {n} FILE", "replace it with a corrected file"),
                (f"tidemill check {stream} --accept {n} --by NAME --reason '…'", "publish it as it arrived"),
            )
        )
    if len(held) > _LISTED:
        what = f"{counted(len(held) - _LISTED, 'more increment')} of {stream} are held"
        found.append(_need("decide", what, (), (f"tidemill check {stream}", "list all of them")))
    return found


def _off(one: ServedModel, model: ModelProjection | None) -> list[ActionItem]:
    champion = model.champion if model else None
    fallback = champion is not None and champion.rules.fallback is not None
    effect = "Requests get the declared fallback." if fallback else "Requests are refused."
    says = [f"Reason: {one.off_why}.", effect] if one.off_why else [effect]
    return [_need("decide", f"{one.model} is switched off", says, (f"tidemill on {one.model}", "switch it on again"))]


def _unserved(name: str, model: ModelProjection | None) -> list[ActionItem]:
    if model is None or not model.releases:
        learn = (f"tidemill train {name}", "train, evaluate and create a release")
        return [_need("decide", f"{name} has not been trained yet", ["It cannot serve requests yet."], learn)]
    if model.champion is None:
        newest = model.releases[-1][0]
        promote = (f"tidemill promote {newest.name}", f"make {newest.name} live")
        return [_need("decide", f"{name} has no champion", _doubts(newest), promote)]
    return []


def _doubts(release: Release) -> tuple[str, ...]:
    """What the card of a tabular model says against its promotion."""
    return review_card(release.card) if release.signature is not None else ()


def _unreviewed(model: ModelProjection) -> list[ActionItem]:
    """What spoke against the promotion of the champion."""
    champion = model.champion
    why = _doubts(champion) if champion else ()
    if champion is None or not why:
        return []
    learn = (f"tidemill train {model.name}", "train again after completing mill.py, or with more data")
    return [_need("decide", f"{champion.name} is live although its card speaks against it", why, learn)]


def _warned(model: ModelProjection) -> list[ActionItem]:
    """Findings of the assessment that make the champion's metrics look too optimistic."""
    champion = model.champion
    assessment = champion.card.assessment if champion else None
    if champion is None or assessment is None or not assessment.warnings:
        return []
    why = [f"{one[:1].upper()}{one[1:].rstrip('.')}." for one in assessment.warnings]
    learn = (f"tidemill train {model.name}", "train again after fixing this")
    return [_need("decide", f"{champion.name} may be worse than its metrics suggest", why[:_LISTED], learn)]


def _candidate(model: ModelProjection) -> list[ActionItem]:
    champion = model.champion
    if champion is None or model.releases[-1][0].number <= max(_tried(model)):
        return []
    newest = model.releases[-1][0]
    learned = f"It was trained on data through {through(newest.card.as_of)}"
    why = "It has new rules on the same bundle" if newest.bundle == champion.bundle else learned
    promote = (f"tidemill promote {newest.name}", "promote it")
    return [_need("hint", f"{newest.name} is ready to promote", [f"{why}; {champion.name} is live."], promote)]


def _tried(model: ModelProjection) -> list[int]:
    """Numbers of releases that were champion: one that was rolled back is not a candidate."""
    return [int(change.release.rpartition("@")[2]) for change in model.changes if change.release]
