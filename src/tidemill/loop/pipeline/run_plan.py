"""Run plan: the steps of the next run and the reason for each, without executing them."""

from __future__ import annotations

from datetime import date

import msgspec

from tidemill.core.clock import last_full_day
from tidemill.core.formatting import count
from tidemill.core.settings import FILE, Settings
from tidemill.loop.ingest.arrivals import stream_position
from tidemill.loop.ingest.rebuild_tables import published_codes
from tidemill.loop.ingest.stream_sources import POSTED_ONLY, check_source_names
from tidemill.loop.pipeline.read_again import read_anew
from tidemill.loop.project.declarations import TableDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.refresh.refresh_models import RefreshStatus
from tidemill.loop.state.code_items import refresh_statuses
from tidemill.sources import open_source


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan."""

    what: str
    kind: str
    #: `run`, `skip` or `wait`.
    do: str
    why: str


def plan(stores: Stores | None, graph: ProjectGraph, until: date | None, settings: Settings) -> list[Step]:
    """The steps of the next run in order; `stores` is `None` before the first run."""
    check_source_names(settings, graph.mill.streams)
    published = stores.ledger.last("publish") if stores else None
    codes = published_codes(stores) if stores else {}
    steps = [_stream_step(stores, graph, name, until, settings) for name in graph.mill.streams]
    moved = graph.external.moved(stores.lake.view().external) if stores and published else set()
    steps += [_table_step(graph, table, codes, moved, first=not published) for table in graph.order]
    steps += [_view_step(stores, graph, name, published=bool(published)) for name in graph.mill.features_views]
    streams = [step for step in steps if step.kind == "stream" and step.do == "run"]
    refresh = refresh_statuses(stores, graph, stores.lake.view()) if stores and published else {}
    return steps + [_model_step(stores, name, refresh.get(name), more=bool(streams)) for name in graph.mill.models]


def _stream_step(stores: Stores | None, graph: ProjectGraph, name: str, until: date | None, settings: Settings) -> Step:
    stream = graph.mill.streams[name]
    if name not in settings.sources:
        why = f"no source: set {name} under [{settings.profile}.sources] in {FILE}"
        return Step(what=name, kind="stream", do="wait", why=why)
    anew = read_anew(stores, stream) if stores else []
    if anew:
        why = f"{count(len(anew), 'held increment')} are read again: `columns=` or the contract has changed"
        return Step(what=name, kind="stream", do="run", why=why)
    if settings.sources[name] != POSTED_ONLY:
        open_source(settings.sources[name], stream.contract, settings.project)  # reads nothing; refuses a wrong URL
    last = until or (last_full_day(stores.clock.now(), stream.day_zone) if stores else None)
    done = stream_position(stores.ledger, name).day if stores else None
    if done is None:
        return Step(what=name, kind="stream", do="run", why="nothing ingested yet")
    if last and last > done:
        return Step(what=name, kind="stream", do="run", why=f"days after {done} up to {last} are due")
    return Step(
        what=name, kind="stream", do="skip", why=f"up to date until {done}; late rows are ingested with the next day"
    )


def _table_step(
    graph: ProjectGraph, table: TableDeclaration, codes: dict[str, str], moved: set[str], *, first: bool
) -> Step:
    name = table.name
    how = f"incremental by {', '.join(table.by)}" if table.by else "rebuilt with each increment"
    if first:
        return Step(what=name, kind="table", do="run", why=f"first build; then {how}")
    if codes.get(name) != graph.codes[name]:
        return Step(what=name, kind="table", do="run", why="its code has changed, so it is rebuilt in full")
    for external in table.inputs:
        if external in moved:
            why = f"{external} is now at {graph.external.pins[external].says}, so it is rebuilt in full"
            return Step(what=name, kind="table", do="run", why=why)
    return Step(what=name, kind="table", do="run", why=how)


def _view_step(stores: Stores | None, graph: ProjectGraph, name: str, *, published: bool) -> Step:
    if not stores or not published or stores.latest.version(name) is None:
        return Step(what=name, kind="features", do="run", why="not materialised yet")
    return Step(what=name, kind="features", do="run", why="if its inputs have changed")


def _model_step(stores: Stores | None, name: str, found: RefreshStatus | None, *, more: bool) -> Step:
    learned = stores.ledger.find("learn", about=f"model:{name}") if stores else []
    if not learned:
        return Step(what=name, kind="model", do="wait", why=f"not trained yet: `tidemill train {name}`")
    if found is not None and found.champion is not None and not found.stuck:
        if found.due:
            return Step(what=name, kind="model", do="run", why=f"{found.says}: will be refreshed")
        why = f"{found.says}; checked again when the due days are ingested" if more else found.says
        return Step(what=name, kind="model", do="run" if more else "skip", why=why)
    why = f"trained {_times(len(learned))}; `tidemill train {name}` trains it again"
    return Step(what=name, kind="model", do="wait", why=f"{found.says}; {why}" if found else why)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
