"""Project status: streams, tables, models, and required actions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from tidemill import loop
from tidemill.core.clock import from_micros
from tidemill.core.errors import LedgerError, ReleaseError
from tidemill.loop.examples.datasets import changed_code
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.release import read_deployment
from tidemill.serving import switch_state

if TYPE_CHECKING:
    from tidemill.loop.refresh.refresh_models import RefreshStatus


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The position of a stream: its last day, increments and rows."""

    name: str
    day: date | None
    increments: int
    rows: int
    held: tuple[int, ...]


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The releases of a model, its champion and its kill switch."""

    name: str
    releases: tuple[str, ...]
    champion: str | None
    off: bool
    #: The refresh status of the champion, in a sentence; `None` without a declared refresh.
    refresh: str | None = None


class StatusNeed(msgspec.Struct, frozen=True, kw_only=True):
    """A required action and its command."""

    what: str
    command: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a project."""

    mill: str
    as_of: str | None
    publication: int
    streams: tuple[StreamStatus, ...]
    tables: dict[str, int]
    models: tuple[ModelStatus, ...]
    needs: tuple[StatusNeed, ...]


def status(stores: Stores, graph: ProjectGraph) -> Status:
    """The state of the project, from the ledger and the kill-switch files."""
    published = stores.ledger.last("publish")
    view = stores.lake.view() if published else None
    streams = tuple(_stream(stores, name) for name in graph.mill.streams)
    fresh = {
        model.name: loop.refresh_status(stores, graph, model, view)  # through the package: loads the learners
        for model in graph.mill.recommenders.values()
        if model.refresh is not None
    }
    imported = [name for name in stores.releases.models() if name not in graph.mill.model_names]
    models = tuple(_model(stores, name, fresh.get(name)) for name in (*graph.mill.model_names, *imported))
    return Status(
        mill=stores.identity.name,
        as_of=from_micros(view.as_of).isoformat() if view else None,
        publication=view.publication if view else 0,
        streams=streams,
        tables=dict(view.versions) if view else {},
        models=models,
        needs=(
            *_held(streams),
            *_unserved(models, published=bool(published)),
            *_wrong_pointers(stores, models),
            *_stale(fresh),
            *_changed_features(stores, graph),
        ),
    )


def _stream(stores: Stores, name: str) -> StreamStatus:
    states = stores.lake.increments(name)
    return StreamStatus(
        name=name,
        day=max((state.increment.day for state in states), default=None),
        increments=len(states),
        rows=sum(state.increment.counts.merged for state in states if state.state != "held"),
        held=tuple(state.increment.number for state in states if state.state == "held"),
    )


def _model(stores: Stores, name: str, fresh: RefreshStatus | None) -> ModelStatus:
    champion = stores.releases.champion(name)
    return ModelStatus(
        name=name,
        releases=tuple(release.name for release in stores.releases.all(name)),
        champion=champion.name if champion else None,
        off=switch_state(stores.serving_root, name).off,
        refresh=fresh.says if fresh else None,
    )


def _held(streams: tuple[StreamStatus, ...]) -> list[StatusNeed]:
    return [
        StatusNeed(
            what=f"{stream.name}: increment {number} is held",
            command=f"tidemill check {stream.name} --accept {number} --by NAME --reason '…'",
        )
        for stream in streams
        for number in stream.held
    ]


def _unserved(models: tuple[ModelStatus, ...], *, published: bool) -> list[StatusNeed]:
    if not published:
        return [StatusNeed(what="nothing has been ingested yet", command="tidemill run --backfill")]
    needs = []
    for model in models:
        if not model.releases:
            needs.append(StatusNeed(what=f"{model.name} has not been trained", command=f"tidemill train {model.name}"))
        elif model.champion is None:
            needs.append(
                StatusNeed(what=f"{model.name} has no champion", command=f"tidemill promote {model.releases[-1]}")
            )
        if model.off:
            needs.append(StatusNeed(what=f"{model.name} is switched off", command=f"tidemill on {model.name}"))
    return needs


def _stale(fresh: Mapping[str, RefreshStatus | None]) -> list[StatusNeed]:
    """Champions that are out of date, and those that a run cannot refresh."""
    return [
        StatusNeed(what=found.says, command=found.stuck or "tidemill run")
        for found in fresh.values()
        if found is not None and (found.stuck or found.due)
    ]


def _changed_features(stores: Stores, graph: ProjectGraph) -> list[StatusNeed]:
    """Champions whose feature code has changed since they were trained."""
    needs = []
    for name in graph.askings:
        champion = stores.releases.champion(name)
        changed = changed_code(stores, graph, champion) if champion else []
        if changed:
            what = f"the code of {', '.join(changed)} has changed since {name} was trained, and is already served"
            needs.append(StatusNeed(what=what, command=f"tidemill train {name}"))
    return needs


def _wrong_pointers(stores: Stores, models: tuple[ModelStatus, ...]) -> list[StatusNeed]:
    """Pointers that differ from the ledger: a running server keeps its release, a starting one follows the pointer."""
    needs = []
    for model in models:
        try:
            live = read_deployment(stores.serving_root, model.name)
            pointed = live.champion.release.name if live else None
        except (ReleaseError, LedgerError) as error:
            needs.append(StatusNeed(what=error.message, command="tidemill run"))
            continue
        if pointed != model.champion:
            what = f"the pointer of {model.name} names {pointed}, but the ledger names {model.champion}"
            needs.append(StatusNeed(what=what, command="tidemill run"))
    return needs
