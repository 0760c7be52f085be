"""The Model page as data: versions, quality beside popularity, the card, what it learned from, and what was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tidemill.console.house import House
from tidemill.console.loop import Live, live, model_names
from tidemill.console.needs import Command
from tidemill.console.quality import Headline, Parts, Quality, headline, parts, quality, shareable
from tidemill.console.runs import all_runs, run_of
from tidemill.console.server import served
from tidemill.console.story import ModelStory, Story
from tidemill.console.tabular import TabularPart, tabular_part
from tidemill.console.taken import Taken, TakenStore
from tidemill.console.words import parameter, rule, through
from tidemill.core.clock import micros
from tidemill.core.errors import NoSuchRelease, nearest
from tidemill.core.records import Evaluation, Record, Run
from tidemill.core.release import Card, Release


class Version(Record, frozen=True):
    """One release in the list of versions."""

    name: str
    number: int
    #: `former` was champion once, `candidate` is newer than any champion, `passed over` is neither.
    state: Literal["champion", "candidate", "former", "passed over"]
    created_at: int
    by: str
    as_of: int
    learner: str
    bundle: str
    #: The release before it has the same bundle: only rules, facts or code differ.
    same_bundle: bool
    quality: Headline | None
    #: Number and name of the run that made it; `None` and empty where none is known.
    run: int | None
    run_name: str


class Tried(Record, frozen=True):
    """One setting tried on validation days."""

    settings: str
    score: str


class Source(Record, frozen=True):
    """One table that the bundle learned from."""

    table: str
    version: int


class Place(Record, frozen=True):
    """One place of the slate with its rules, as they are written in mill.py."""

    name: str
    rules: tuple[str, ...]


class Changed(Record, frozen=True):
    """A promotion, a rollback, or the switch."""

    at: int
    actor: str
    what: str
    release: str
    before: str


class ModelPage(Record, frozen=True):
    """Everything that the Model page shows."""

    mill: str
    now: int
    model: str
    models: tuple[str, ...]
    headline: str
    live: Live
    #: The release whose card, quality and rules are shown; `None` before the first.
    shown: Release | None
    versions: tuple[Version, ...]
    evaluation: Evaluation | None
    quality: tuple[Quality, ...]
    parts: Parts | None
    tried: tuple[Tried, ...]
    #: What is shown of a tabular model's release; `None` for a recommender's.
    tabular: TabularPart | None
    card: Card | None
    parameters: dict[str, str]
    data: tuple[Source, ...]
    rules: tuple[Place, ...]
    taken: tuple[Taken, ...]
    changes: tuple[Changed, ...]
    commands: tuple[Command, ...]
    #: Why the ledger could not be read on, where it could not.
    unread: str | None


def model_page(
    house: House, story: Story, model: str, number: int | None = None, sums: TakenStore | None = None
) -> ModelPage:
    """Put the page of `model` together; `number` shows another release than the champion. `NoSuchRelease` names the
    nearest where there is no such model or release.
    """
    told = story.catch_up()
    names = model_names(house, told)
    if model not in names:
        raise NoSuchRelease(f"there is no model {model!r}; {nearest(model, names)}", tip="tidemill status")
    known = told.models.get(model) or ModelStory(model)
    shown = _shown(known, number)
    measured = shown.card.evaluation if shown else None
    shown = shareable(shown) if shown else None
    evaluation = shown.card.evaluation if shown else None
    now_live = live(known, served(house.serving_root, model))
    runs, _ = all_runs(house, model)
    return ModelPage(
        mill=house.mill_name,
        now=micros(house.clock.now()),
        model=model,
        models=tuple(names),
        headline=_headline(now_live, known),
        live=now_live,
        shown=shown,
        versions=tuple(reversed(_versions(known, runs))),
        evaluation=evaluation,
        quality=quality(measured) if measured else (),
        parts=parts(measured) if measured else None,
        tried=tuple(_tried(evaluation)) if evaluation else (),
        tabular=tabular_part(shown, house.serving_root) if shown else None,
        card=shown.card if shown else None,
        parameters=_parameters(shown) if shown else {},
        data=tuple(Source(table=table, version=version) for table, version in sorted(shown.data.items()))
        if shown
        else (),
        rules=_places(shown) if shown else (),
        taken=() if shown and shown.signature else (sums or TakenStore()).of(house, told, model),
        changes=tuple(
            Changed(at=change.at, actor=change.actor, what=change.what, release=change.release, before=change.before)
            for change in reversed(known.changes[-12:])
        ),
        commands=_commands(known, now_live),
        unread=story.problem,
    )


def _shown(known: ModelStory, number: int | None) -> Release | None:
    releases = [release for release, _ in known.releases]
    if number is None:
        return known.champion or (releases[-1] if releases else None)
    found = next((release for release in releases if release.number == number), None)
    if found is None:
        there = [release.name for release in releases]
        raise NoSuchRelease(f"there is no release {known.name}@{number}; {nearest(f'{known.name}@{number}', there)}")
    return found


def _headline(now: Live, known: ModelStory) -> str:
    if not known.releases:
        return f"{known.name} was never learned." if not known.learned else f"{known.name} has no release yet."
    if now.release is None:
        return f"{known.name} has no champion."
    if now.serving.off:
        return f"{known.name} is switched off."
    learned = f", learned from data through {through(now.as_of)}" if now.as_of else ""
    return f"{now.release} is live{learned}."


def _versions(known: ModelStory, runs: Sequence[Run]) -> list[Version]:
    was = {change.release for change in known.changes if change.release}
    newest = max((int(name.rpartition("@")[2]) for name in was), default=0)
    champion = known.champion
    made: list[Version] = []
    for release, line in known.releases:
        run = run_of(release, runs)
        made.append(
            Version(
                run=run.number if run else None,
                run_name=run.name if run else "",
                name=release.name,
                number=release.number,
                state=_state(release, champion, was, newest),
                created_at=release.created_at,
                by=line.actor,
                as_of=release.card.as_of,
                learner=release.card.learner,
                bundle=release.bundle[:12],
                same_bundle=bool(made) and made[-1].bundle == release.bundle[:12],
                quality=headline(release),
            )
        )
    return made


def _state(
    release: Release, champion: Release | None, was: set[str], newest: int
) -> Literal["champion", "candidate", "former", "passed over"]:
    if champion is not None and release.number == champion.number:
        return "champion"
    if release.name in was:
        return "former"
    return "candidate" if release.number > newest else "passed over"


def _tried(evaluation: Evaluation) -> list[Tried]:
    made = []
    for one in evaluation.validation:
        score = next((one[name] for name in ("score", "value") if name in one), None)
        rest = {name: value for name, value in one.items() if name not in ("score", "value")}
        shown = f"{score:.4f}" if isinstance(score, float) else str(score or "")
        made.append(Tried(settings=parameter(rest), score=shown))
    return made


def _parameters(release: Release) -> dict[str, str]:
    """The learner's settings; what a choice tried is told with its members."""
    given = release.card.parameters
    told = release.signature is not None and "members" in given
    return {name: parameter(value) for name, value in given.items() if not (told and name == "members")}


def _places(release: Release) -> tuple[Place, ...]:
    rules = release.rules
    fallback = (rules.fallback,) if rules.fallback else ()
    places = (
        ("retrieve", rules.retrieve),
        ("filter", rules.filter),
        ("score", rules.score),
        ("order", rules.order),
        ("fallback", fallback),
    )
    return tuple(Place(name=name, rules=tuple(rule(one) for one in given)) for name, given in places if given)


def _commands(known: ModelStory, now: Live) -> tuple[Command, ...]:
    name = known.name
    tabular = bool(known.releases) and known.releases[-1][0].signature is not None
    found = [Command(text=f"tidemill train {name}", does="learn, evaluate and make a release")]
    if known.releases:
        newest = known.releases[-1][0].name
        if newest != now.release:
            found.append(Command(text=f"tidemill promote {newest}", does=f"make {newest} live"))
        if sum(1 for change in known.changes if change.release) > 1:
            found.append(Command(text=f"tidemill rollback {name}", does="bring back the champion before"))
    if now.release:
        switch = (
            ("on", "answer from the model again")
            if now.serving.off
            else ("off", "answer by the fallback, or not at all" if not tabular else "stop answering")
        )
        found.append(Command(text=f"tidemill {switch[0]} {name}", does=switch[1]))
    return tuple(found)
