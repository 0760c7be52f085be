"""Project status: streams, tables, models, and required actions."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from tidemill.core.clock import from_micros
from tidemill.core.records.external_pin import ExternalPin
from tidemill.loop.online.mend_online import online_damage
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.state.action_items import ActionItem, action_items
from tidemill.loop.state.code_items import code_items, read_code_items, refresh_statuses
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.loop.state.server_status import ServedModel, served
from tidemill.loop.state.storage_items import storage_items
from tidemill.release import Promotion

#: Online rows put after the snapshots of which each status looks for damage: about half a second.
_FRESH_ROWS = 200_000

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
    #: How the champion went live: who promoted it, and what was checked.
    promotion: Promotion | None
    off: bool
    #: The refresh status of the champion, in a sentence; `None` without a declared refresh.
    refresh: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a project."""

    mill: str
    as_of: str | None
    publication: int
    streams: tuple[StreamStatus, ...]
    tables: dict[str, int]
    #: External table -> the version that the tables were computed from.
    external: dict[str, ExternalPin]
    models: tuple[ModelStatus, ...]
    #: What a person has to do or decide, most urgent first; the console shows the same.
    action_items: tuple[ActionItem, ...]


def status(stores: Stores, graph: ProjectGraph) -> Status:
    """The state of the mill, from the ledger and the state files of the server."""
    published = stores.ledger.last("publish")
    view = stores.lake.view() if published else None
    refresh = refresh_statuses(stores, graph, view)
    imported = [name for name in stores.releases.models() if name not in graph.mill.models]
    names = (*graph.mill.models, *imported)
    on_server = [served(stores.serving_root, name, stores.keys.public) for name in names]
    return Status(
        mill=stores.identity.name,
        as_of=from_micros(view.as_of).isoformat() if view else None,
        publication=view.publication if view else 0,
        streams=tuple(_stream(stores, name) for name in graph.mill.streams),
        tables=dict(view.versions) if view else {},
        external=view.external if view else {},
        models=tuple(_model(stores, one, refresh.get(one.model)) for one in on_server),
        action_items=action_items(
            LedgerProjection(stores.ledger).catch_up(),
            on_server,
            names,
            verify=lambda release: stores.releases.verify(release, deep=False),
            of_code=(*code_items(stores, graph, refresh), *read_code_items(stores.code_items_file, of_rates_only=True)),
            storage=storage_items(stores.state, stores.vault.check, online_damage(stores.latest, _FRESH_ROWS)),
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


def _model(stores: Stores, served_model: ServedModel, fresh: RefreshStatus | None) -> ModelStatus:
    name = served_model.model
    promotion = stores.releases.last_promotion(name)
    return ModelStatus(
        name=name,
        releases=tuple(release.name for release in stores.releases.all(name)),
        champion=promotion.release if promotion else None,
        promotion=promotion,
        off=served_model.off,
        refresh=fresh.says if fresh else None,
    )
