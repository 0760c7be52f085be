"""A training, from published interactions to a release that can be promoted.

What was learned from the same rows with the same settings is not learned again; new rules on the same bundle are a new
release in no time.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
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
from tidemill.loop.run import Teller, silent
from tidemill.models import Interactions
from tidemill.training import TrainResult, train_recommender

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


def learn(
    house: House, graph: Graph, name: str, *, at: int | None = None, rules_only: bool = False, tell: Teller = silent
) -> Learned:
    """Learn the model `name` from what is published, measure it, and make a release of it.

    `at` (microseconds) is where measuring splits the time. `rules_only` takes the last bundle, however old. Raises
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
        mark = fingerprint(
            {
                "learn": msgspec.json.encode(model.learn).decode(),
                "from": view.versions[model.interactions],
                "at": at or 0,
                "tidemill": metadata.version("tidemill"),
            }
        )
        line = _earlier(house, name, None if rules_only else mark)
        notes: tuple[str, ...] = ()
        anew = line is None
        if line is None:
            line, notes = _learn(house, graph, model, view, rules, mark, at, lease, tell)
        card = msgspec.structs.replace(
            msgspec.json.decode(line.details["card"], type=Card), helps=model.helps, could_harm=model.could_harm
        )
        release = house.releases.create(
            name,
            line.details["bundle"],
            rules,
            card,
            facts=model.slate.facts(graph.item_views(model)),
            modules=model.slate.modules(),
            code=fingerprint({"graph": dict(graph.codes), "learn": mark}),
            commit=_commit(house.project),
            environment=environment(),
            log=model.log,
            lease=lease,
        )
    return Learned(release, card, anew, notes)


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
    lease: Lease,
    tell: Teller,
) -> tuple[Line, tuple[str, ...]]:
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
        details={"bundle": bundle, "card": card.json(), "publication": view.publication},
        lease=lease,
    )
    failpoint("bundle.ledger")
    return line, (result.note,) if result.note else ()


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


def _commit(project: Path) -> str | None:
    """The commit of the project's code, where it lies in a git checkout."""
    try:
        found = subprocess.run(
            ["git", "-C", str(project), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def environment() -> str:
    """sha256 over the name and version of every installed distribution."""
    installed = sorted({f"{found.name}=={found.version}" for found in metadata.distributions()})
    return fingerprint({"installed": installed})
