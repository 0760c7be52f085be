"""A training, from published interactions to a release that can be promoted.

What was learned from the same rows with the same settings is not learned again; new rules on the same bundle are a new
release in no time.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import micros
from tidemill.core.errors import CardIncomplete, UnknownName, UsageError, nearest
from tidemill.core.failpoint import failpoint
from tidemill.core.ledger import Line
from tidemill.core.ports import Lease
from tidemill.core.records import Card, Release, RuleSet
from tidemill.lake import View
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.mill import Recommender
from tidemill.loop.mirror import mirrored
from tidemill.loop.run import Teller, silent
from tidemill.loop.surroundings import Surroundings, surroundings
from tidemill.loop.tracking import begin_training, both, finish_training
from tidemill.models import Interactions
from tidemill.training import Effort, Tracked, TrainResult, train_recommender
from tidemill.training.effort import USUAL

#: What the folder is called that a bundle is made in.
_PLACE = "learn-"


@dataclass(frozen=True)
class Learned:
    """What a training left."""

    release: Release
    card: Card
    #: Whether there was anything to learn; if not, the bundle of an earlier training was taken.
    anew: bool
    notes: tuple[str, ...] = ()
    #: The run of the training, for example `for_you#3`; empty where nothing was learned.
    run: str = ""


def learn(
    house: House,
    graph: Graph,
    name: str,
    *,
    at: int | None = None,
    rules_only: bool = False,
    effort: Effort = USUAL,
    tell: Teller = silent,
) -> Learned:
    """Learn the model `name` from what is published, measure it, and make a release of it.

    `at` (microseconds) is where measuring splits the time. `rules_only` takes the last bundle, however old. `effort`
    bounds the choice of settings. What is learned anew is a run; one that was killed is gone on with. Raises
    `CardIncomplete` before anything is learned if nobody has said who is served and who could be harmed.
    """
    model = model_named(graph, name)
    if not model.helps.strip() or not model.could_harm.strip():
        raise CardIncomplete(
            f"{name} does not say who is served and who could be harmed",
            tip="set `helps=` and `could_harm=` in mill.py",
        )
    rules = model.slate.rules(graph.item_views(model))
    with house.leases.take("run") as lease:
        house.lake.recover(lease)
        for left in house.state.glob(f"{_PLACE}*"):  # by a training that was killed
            shutil.rmtree(left)
        view = house.lake.view()
        mark = _mark(model, view, at, effort)
        code = fingerprint({"graph": dict(graph.codes), "learn": mark})
        around = surroundings(house.project)

        def release(line: Line) -> tuple[Release, Card]:
            return _release(house, graph, model, rules, line, code, around, lease)

        line = _earlier(house, name, None if rules_only else mark)
        if line is not None:
            return Learned(*release(line), anew=False)
        run, known = begin_training(house, model, view, code, around, lease)
        with run:
            effort = replace(effort, known=known, keep=run.trial)
            line, result = _learn(house, graph, model, view, rules, mark, at, effort, lease, run, both(run, tell))
            made, card = release(line)
            finish_training(house, run, result, made)
    return Learned(made, card, anew=True, notes=(*result.notes, *mirrored(house)), run=run.name)


def _mark(model: Recommender, view: View, at: int | None, effort: Effort) -> str:
    """The fingerprint of everything that a training's outcome depends on."""
    return fingerprint(
        {
            "learn": msgspec.json.encode(model.learn).decode(),
            "from": view.versions[model.interactions],
            "at": at or 0,
            "effort": [effort.seed, effort.trials, str(effort.minutes)],
            "tidemill": metadata.version("tidemill"),
        }
    )


def _release(
    house: House,
    graph: Graph,
    model: Recommender,
    rules: RuleSet,
    line: Line,
    code: str,
    around: Surroundings,
    lease: Lease,
) -> tuple[Release, Card]:
    """The release of what a training's line names, under the rules as they are now."""
    card = msgspec.structs.replace(
        msgspec.json.decode(line.details["card"], type=Card), helps=model.helps, could_harm=model.could_harm
    )
    release = house.releases.create(
        model.name,
        line.details["bundle"],
        rules,
        card,
        facts=model.slate.facts(graph.item_views(model)),
        modules=model.slate.modules(),
        code=code,
        commit=around.commit,
        environment=around.environment,
        log=model.log,
        lease=lease,
    )
    return release, card


def model_named(graph: Graph, name: str) -> Recommender:
    """The model of that name, or an error that names the nearest."""
    if name not in graph.mill.recommenders:
        raise UnknownName(f"no model {name!r}", tip=nearest(name, graph.mill.recommenders))
    return graph.mill.recommenders[name]


def _earlier(house: House, name: str, mark: str | None) -> Line | None:
    """The training that need not be done again: of this fingerprint, or with `None` the last one there is."""
    if mark is None:
        found = house.ledger.last("learn", f"model:{name}")
        if found is None:
            raise UsageError(f"{name} was never learned, so there are no rules to change", tip=f"tidemill train {name}")
        return found
    lines = house.ledger.find("learn", about=f"model:{name}", fingerprint=mark)
    return lines[-1] if lines else None


def _learn(
    house: House,
    graph: Graph,
    model: Recommender,
    view: View,
    rules: RuleSet,
    mark: str,
    at: int | None,
    effort: Effort,
    lease: Lease,
    run: Tracked,
    tell: Teller,
) -> tuple[Line, TrainResult]:
    roles = graph.roles(model)
    has_row = "_row" in graph.schemas[model.interactions].names
    columns = [roles.subject, roles.item, roles.time, *(["_row"] if has_row else [])]
    rows = view.arrow(model.interactions, columns=columns)
    tell("learning", {"model": model.name, "rows": rows.num_rows, "version": view.versions[model.interactions]})
    interactions = Interactions.from_arrow(
        rows, user=roles.subject, item=roles.item, time=roles.time, row="_row" if has_row else None
    )
    with tempfile.TemporaryDirectory(prefix=_PLACE, dir=house.state) as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        result = train_recommender(
            interactions,
            model.learn,
            model=model.name,
            as_of=view.as_of,
            folder=folder,
            rules=rules,
            search=house.search(),
            at=at,
            effort=effort,
            progress=tell,
        )
        card = _card(house, model, view, result)
        bundle = house.releases.keep(folder)
    line = house.ledger.append(
        "learn",
        about=f"model:{model.name}",
        refs_in=[f"table:{model.interactions}@{view.versions[model.interactions]}"],
        refs_out=[f"bundle:{model.name}@{bundle}"],
        fingerprint=mark,
        details={"bundle": bundle, "card": card.json(), "publication": view.publication, "run": run.name},
        lease=lease,
    )
    failpoint("bundle.ledger")
    return line, result


def _card(house: House, model: Recommender, view: View, result: TrainResult) -> Card:
    return Card(
        model=model.name,
        helps=model.helps,
        could_harm=model.could_harm,
        learner=result.learner,
        parameters=result.parameters,
        evaluation=result.evaluation,
        data={model.interactions: view.versions[model.interactions]},
        n_rows=result.n_rows,
        n_users=result.n_users,
        n_items=result.n_items,
        learned_at=micros(house.clock.now()),
        as_of=view.as_of,
    )
