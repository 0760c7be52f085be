"""What is live, what has come in, and what needs a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from tidemill import loop
from tidemill.core.clock import from_micros
from tidemill.core.errors import LedgerError, ReleaseError
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.tabular.datasets import changed_code
from tidemill.release import read_deployment
from tidemill.serving import switch_state

if TYPE_CHECKING:
    from tidemill.loop.fresh import Standing


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stream has come."""

    name: str
    day: date | None
    increments: int
    rows: int
    held: tuple[int, ...]


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a model has and what of it is live."""

    name: str
    releases: tuple[str, ...]
    champion: str | None
    off: bool
    #: How fresh the champion is, in a sentence; `None` where it is not to be kept fresh.
    refresh: str | None = None


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Something that waits for a person, and the command that settles it."""

    what: str
    command: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a mill."""

    mill: str
    as_of: str | None
    publication: int
    streams: tuple[StreamStatus, ...]
    tables: dict[str, int]
    models: tuple[ModelStatus, ...]
    needs: tuple[Need, ...]


def status(house: House, graph: Graph) -> Status:
    """The state of the mill, from the ledger and the switch files."""
    published = house.ledger.last("publish")
    view = house.lake.view() if published else None
    streams = tuple(_stream(house, name) for name in graph.mill.streams)
    fresh = {
        model.name: loop.standing(house, graph, model, view)  # through the door: loads what counts and learns
        for model in graph.mill.recommenders.values()
        if model.refresh is not None
    }
    imported = [name for name in house.releases.models() if name not in graph.mill.model_names]
    models = tuple(_model(house, name, fresh.get(name)) for name in (*graph.mill.model_names, *imported))
    return Status(
        mill=house.identity.name,
        as_of=from_micros(view.as_of).isoformat() if view else None,
        publication=view.publication if view else 0,
        streams=streams,
        tables=dict(view.versions) if view else {},
        models=models,
        needs=(
            *_held(streams),
            *_unserved(models, published=bool(published)),
            *_astray(house, models),
            *_stale(fresh),
            *_other_features(house, graph),
        ),
    )


def _stream(house: House, name: str) -> StreamStatus:
    states = house.lake.increments(name)
    return StreamStatus(
        name=name,
        day=max((state.increment.day for state in states), default=None),
        increments=len(states),
        rows=sum(state.increment.counts.merged for state in states if state.state != "held"),
        held=tuple(state.increment.number for state in states if state.state == "held"),
    )


def _model(house: House, name: str, fresh: Standing | None) -> ModelStatus:
    champion = house.releases.champion(name)
    return ModelStatus(
        name=name,
        releases=tuple(release.name for release in house.releases.all(name)),
        champion=champion.name if champion else None,
        off=switch_state(house.serving_root, name).off,
        refresh=fresh.says if fresh else None,
    )


def _held(streams: tuple[StreamStatus, ...]) -> list[Need]:
    return [
        Need(
            what=f"{stream.name} {number} is held",
            command=f"tidemill check {stream.name} --accept {number} --by NAME --reason '…'",
        )
        for stream in streams
        for number in stream.held
    ]


def _unserved(models: tuple[ModelStatus, ...], *, published: bool) -> list[Need]:
    if not published:
        return [Need(what="nothing has been brought in yet", command="tidemill run --backfill")]
    needs = []
    for model in models:
        if not model.releases:
            needs.append(Need(what=f"{model.name} was never learned", command=f"tidemill train {model.name}"))
        elif model.champion is None:
            needs.append(Need(what=f"{model.name} has no champion", command=f"tidemill promote {model.releases[-1]}"))
        if model.off:
            needs.append(Need(what=f"{model.name} is switched off", command=f"tidemill on {model.name}"))
    return needs


def _stale(fresh: Mapping[str, Standing | None]) -> list[Need]:
    """Champions that are behind, and those that a run cannot refresh."""
    return [
        Need(what=found.says, command=found.stuck or "tidemill run")
        for found in fresh.values()
        if found is not None and (found.stuck or found.due)
    ]


def _other_features(house: House, graph: Graph) -> list[Need]:
    """Champions that are given features of another code than they learned with."""
    needs = []
    for name in graph.askings:
        champion = house.releases.champion(name)
        changed = changed_code(house, graph, champion) if champion else []
        if changed:
            what = f"{', '.join(changed)}: the code is another one than {name} learned with, and its answers see it"
            needs.append(Need(what=what, command=f"tidemill train {name}"))
    return needs


def _astray(house: House, models: tuple[ModelStatus, ...]) -> list[Need]:
    """Pointers that are not what the ledger says: a server that runs keeps what it has, one that starts does not."""
    needs = []
    for model in models:
        try:
            live = read_deployment(house.serving_root, model.name)
            says = live.champion.release.name if live else None
        except (ReleaseError, LedgerError) as error:
            needs.append(Need(what=error.message, command="tidemill run"))
            continue
        if says != model.champion:
            what = f"the pointer of {model.name} is on {says}, and the ledger says {model.champion}"
            needs.append(Need(what=what, command="tidemill run"))
    return needs
