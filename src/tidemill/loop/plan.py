"""What a run would do, and why, without doing it."""

from __future__ import annotations

from datetime import date

import msgspec

from tidemill.core.clock import last_full_day
from tidemill.core.settings import FILE, Settings
from tidemill.loop.arrivals import stands
from tidemill.loop.fresh import standing
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.increment import published_codes
from tidemill.loop.nodes import Recommender
from tidemill.loop.origins import refuse_strange


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan."""

    what: str
    kind: str
    #: `run`, `skip` or `wait`.
    do: str
    why: str


def plan(house: House | None, graph: Graph, until: date | None, settings: Settings) -> list[Step]:
    """The steps of the next run in order; `house` is `None` where nothing has run yet."""
    refuse_strange(settings, graph.mill.streams)
    published = house.ledger.last("publish") if house else None
    codes = published_codes(house) if house else {}
    steps = [_stream_step(house, graph, name, until, settings) for name in graph.mill.streams]
    steps += [_table_step(graph, name, codes, first=not published) for name in (table.name for table in graph.order)]
    steps += [_view_step(house, graph, name, published=bool(published)) for name in graph.mill.features_views]
    streams = [step for step in steps if step.kind == "stream" and step.do == "run"]
    steps += [
        _model_step(house, graph, model, published=bool(published), more=bool(streams))
        for model in graph.mill.recommenders.values()
    ]
    return steps + [_tabular_step(house, name) for name in graph.mill.models]


def _stream_step(house: House | None, graph: Graph, name: str, until: date | None, settings: Settings) -> Step:
    stream = graph.mill.streams[name]
    if name not in settings.sources:
        why = f"it has no source: write {name} under [{settings.profile}.sources] in {FILE}"
        return Step(what=name, kind="stream", do="wait", why=why)
    last = until or (last_full_day(house.clock.now(), stream.day_zone) if house else None)
    done = stands(house, name).day if house else None
    if done is None:
        return Step(what=name, kind="stream", do="run", why="nothing of it has been brought in yet")
    if last and last > done:
        return Step(what=name, kind="stream", do="run", why=f"the days after {done} up to {last} are due")
    return Step(what=name, kind="stream", do="skip", why=f"done up to {done}; late rows come with the next day")


def _table_step(graph: Graph, name: str, codes: dict[str, str], *, first: bool) -> Step:
    table = graph.mill.tables[name]
    how = f"the touched keys {', '.join(table.by)} of each increment" if table.by else "whole, with each increment"
    if first:
        return Step(what=name, kind="table", do="run", why=f"made for the first time; then {how}")
    if codes.get(name) != graph.codes[name]:
        return Step(what=name, kind="table", do="run", why="its code has changed, so it is made again from the start")
    return Step(what=name, kind="table", do="run", why=how)


def _view_step(house: House | None, graph: Graph, name: str, *, published: bool) -> Step:
    if not house or not published or house.latest.version(name) is None:
        return Step(what=name, kind="features", do="run", why="never made")
    return Step(what=name, kind="features", do="run", why="if what it is made from changed")


def _tabular_step(house: House | None, name: str) -> Step:
    learned = house.ledger.find("learn", about=f"model:{name}") if house else []
    why = f"learned {_times(len(learned))}; `tidemill train {name}` learns anew" if learned else "never learned"
    return Step(what=name, kind="model", do="wait", why=why if learned else f"{why}: `tidemill train {name}`")


def _model_step(house: House | None, graph: Graph, model: Recommender, *, published: bool, more: bool) -> Step:
    name = model.name
    learned = house.ledger.find("learn", about=f"model:{name}") if house else []
    if not house or not learned:
        return Step(what=name, kind="model", do="wait", why=f"never learned: `tidemill train {name}`")
    found = standing(house, graph, model, house.lake.view()) if published else None
    if found is not None and found.champion is not None and not found.stuck:
        if found.due:
            return Step(what=name, kind="model", do="run", why=f"{found.says}: refreshed")
        why = f"{found.says}; looked at again when what is due has come in" if more else found.says
        return Step(what=name, kind="model", do="run" if more else "skip", why=why)
    why = f"learned {_times(len(learned))}; `tidemill train {name}` learns anew"
    return Step(what=name, kind="model", do="wait", why=f"{found.says}; {why}" if found else why)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
