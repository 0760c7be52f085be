"""The Loop page as data: what is live, what needs me, and how each room is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidemill.console.house import House
from tidemill.console.needs import Need, needs
from tidemill.console.quality import Headline, headline
from tidemill.console.rooms import Room, rooms
from tidemill.console.server import Served, served
from tidemill.console.story import ModelStory, Story, Told
from tidemill.console.words import counted
from tidemill.core.clock import micros
from tidemill.core.ledger import Line
from tidemill.core.records import Record
from tidemill.loop.views.feature_files import declared_features

#: How many of the last acts are told.
ACTS = 9
_WORDS = ("", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


class Live(Record, frozen=True):
    """A model and what answers for it."""

    model: str
    release: str | None
    #: When it went live, who did it, and the as-of of the data it learned from.
    since: int | None
    by: str | None
    as_of: int | None
    quality: Headline | None
    serving: Served


class Act(Record, frozen=True):
    """A line of the ledger, as a sentence."""

    seq: int
    at: int
    actor: str
    says: str
    #: How often it happened in a row; `seq` and `at` are the last time's.
    times: int = 1


class LoopPage(Record, frozen=True):
    """Everything that the Loop page shows."""

    mill: str
    #: The clock that ages are counted from.
    now: int
    headline: str
    publication: int | None
    #: As-of of the newest publication.
    as_of: int | None
    #: Whether outcomes came back on what was answered, and the sentence that says it.
    closed: bool
    loop: str
    rooms: tuple[Room, ...]
    live: tuple[Live, ...]
    needs: tuple[Need, ...]
    recent: tuple[Act, ...]
    #: Number and hash of the last ledger line.
    head: str


def loop_page(house: House, story: Story) -> LoopPage:
    """Read what is new in the ledger and put the page together."""
    told = story.catch_up()
    names = model_names(house, told)
    models = [served(house.serving_root, name) for name in names]
    stations = rooms(told, models, len(declared_features(house.serving_root).functions))
    waiting = needs(
        told,
        models,
        names,
        verify=lambda release: house.releases.verify(release, deep=False),
        problems=house.problems(),
        unread=story.problem,
    )
    closed, said = _loop(told)
    return LoopPage(
        mill=house.mill_name,
        now=micros(house.clock.now()),
        headline=_headline(waiting),
        publication=told.publication.number if told.publication else None,
        as_of=told.as_of if told.publication else None,
        closed=closed,
        loop=said,
        rooms=stations,
        live=tuple(live(told.models.get(one.model), one) for one in models),
        needs=waiting,
        recent=_recent(told.recent),
        head=f"{told.seq}:{told.hash[:12]}",
    )


def model_names(house: House, told: Told) -> list[str]:
    """Declared models first, then those that only the ledger names."""
    return [*house.models, *sorted(told.models.keys() - set(house.models))]


def _headline(waiting: tuple[Need, ...]) -> str:
    pressing = sum(need.weight != "hint" for need in waiting)
    if any(need.weight == "broken" for need in waiting):
        return "Something is broken."
    if pressing:
        many = _WORDS[pressing] if pressing < len(_WORDS) else str(pressing)
        return f"{many} {'thing needs' if pressing == 1 else 'things need'} you."
    return "All is well."


def _loop(told: Told) -> tuple[bool, str]:
    predictions, outcomes = told.kept.get("predictions"), told.kept.get("outcomes")
    if predictions is None:
        return False, "The loop is open: no answer was logged yet."
    if outcomes is None:
        return False, f"The loop is open: {counted(predictions.rows, 'prediction')} went out, no outcome came back."
    came = f"{counted(outcomes.rows, 'outcome')} came back on {counted(predictions.rows, 'prediction')}"
    return True, f"The loop is closed: {came}."


def live(model: ModelStory | None, served: Served) -> Live:
    """What answers for a model, and how good it is."""
    known = model or ModelStory(served.model)
    champion = known.champion
    name = served.release or (champion.name if champion else None)
    # During a swap, or after a failed one, what answers is another release than the champion.
    release = next((release for release, _ in known.releases if release.name == name), None)
    change = next((change for change in reversed(known.changes) if name and change.release == name), None)
    return Live(
        model=served.model,
        release=name,
        since=change.at if change else None,
        by=change.actor if change else None,
        as_of=release.card.as_of if release else None,
        quality=headline(release),
        serving=served,
    )


def _recent(lines: Iterable[Line]) -> tuple[Act, ...]:
    """The last acts, newest first; the same act of the same account in a row is told once."""
    acts: list[Act] = []
    for line in lines:
        act = Act(seq=line.seq, at=line.at, actor=line.actor, says=says(line))
        if acts and (acts[-1].actor, acts[-1].says) == (act.actor, act.says):
            acts[-1] = msgspec.structs.replace(acts[-1], times=acts[-1].times + 1)
        elif len(acts) == ACTS:
            break
        else:
            acts.append(act)
    return tuple(acts)


def says(line: Line) -> str:
    """What a ledger line tells, in one sentence."""
    thing = line.about.partition(":")[2] or line.about
    out = ", ".join(ref.partition(":")[2] for ref in line.refs_out if ref.startswith("release:"))
    verbs = {
        "open": f"opened the mill {thing}",
        "publish": f"published {thing}" if line.about.startswith("stream:") else "published tables made again",
        "hold": f"held an increment of {thing}",
        "accept": f"accepted an increment of {thing}",
        "features": "filled feature views",
        "learn": f"learned {thing}",
        "release": f"made {out}",
        "promote": f"{'rolled back to' if line.details.get('why') == 'rollback' else 'promoted'} {out}",
        "off": f"switched {thing} off",
        "on": f"switched {thing} on",
        "run-end": f"ended {thing.replace('@', '#')}{', which failed' * (line.details.get('state') == 'failed')}",
    }
    return verbs.get(line.act, f"{line.act} {thing}".strip())
