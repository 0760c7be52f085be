"""Loop page as data: live models, required actions and the state of each component."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidemill.console.formatting import counted
from tidemill.console.state.components import RoomState, rooms
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.core.clock import to_micros
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.record_format import Record
from tidemill.core.records.gate import GateVerdict
from tidemill.core.records.headline import Headline, headline
from tidemill.loop.online.feature_metadata_files import declared_features
from tidemill.loop.state.action_items import ActionItem, action_items
from tidemill.loop.state.code_items import read_code_items
from tidemill.loop.state.ledger_projection import LedgerProjection, ModelProjection, ProjectedState
from tidemill.loop.state.server_status import ServedModel, served
from tidemill.loop.state.storage_items import storage_items

#: Number of recent entries shown.
ACTS = 9


class LiveRow(Record, frozen=True):
    """A model and its live release."""

    model: str
    release: str | None
    #: The time of its promotion, by whom, and the as-of of its training data.
    since: int | None
    by: str | None
    #: What the gate checked; `None` in entries of older versions.
    verdict: GateVerdict | None
    as_of: int | None
    quality: Headline | None
    serving: ServedModel


class LedgerAct(Record, frozen=True):
    """A ledger entry as a sentence."""

    seq: int
    at: int
    account: str
    says: str
    #: Number of consecutive repeats; `seq` and `at` are those of the last one.
    times: int = 1


class LoopPage(Record, frozen=True):
    """All data of the Loop page."""

    mill: str
    #: The current time, for ages.
    now: int
    headline: str
    publication: int | None
    #: As-of of the newest publication.
    as_of: int | None
    #: Whether outcomes were received for logged predictions, and a sentence for it.
    closed: bool
    loop: str
    rooms: tuple[RoomState, ...]
    live: tuple[LiveRow, ...]
    needs: tuple[ActionItem, ...]
    recent: tuple[LedgerAct, ...]
    #: Number and hash of the last ledger entry.
    head: str


def loop_page(stores: ConsoleStores, projection: LedgerProjection) -> LoopPage:
    """Read new ledger entries and build the page."""
    projected = projection.catch_up()
    names = model_names(stores, projected)
    models = [served(stores.serving_root, name, stores.ledger.keys.public) for name in names]
    stations = rooms(projected, models, len(declared_features(stores.serving_root).functions))
    waiting = action_items(
        projected,
        models,
        names,
        verify=lambda release: stores.releases.verify(release, deep=False),
        problems=stores.problems(),
        unread=projection.problem,
        of_code=read_code_items(stores.code_items_file),
        storage=storage_items(stores.serving_root.parent, stores.check_vault, dict(stores.online_damage())),
    )
    closed, said = _loop(projected)
    return LoopPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        headline=_headline(waiting),
        publication=projected.publication.number if projected.publication else None,
        as_of=projected.as_of if projected.publication else None,
        closed=closed,
        loop=said,
        rooms=stations,
        live=tuple(live(projected.models.get(one.model), one) for one in models),
        needs=waiting,
        recent=_recent(projected.recent),
        head=f"{projected.seq}:{projected.hash[:12]}",
    )


def model_names(stores: ConsoleStores, projected: ProjectedState) -> list[str]:
    """Declared models first, then those that only occur in the ledger."""
    return [*stores.models, *sorted(projected.models.keys() - set(stores.models))]


def _headline(waiting: tuple[ActionItem, ...]) -> str:
    pressing = sum(need.weight != "hint" for need in waiting)
    if any(need.weight == "broken" for need in waiting):
        return "Something is broken."
    if pressing:
        return f"{counted(pressing, 'action')} required."
    return "Healthy."


def _loop(projected: ProjectedState) -> tuple[bool, str]:
    predictions, outcomes = projected.kept.get("predictions"), projected.kept.get("outcomes")
    if predictions is None:
        return False, "No prediction logged yet."
    if outcomes is None:
        return False, f"{counted(predictions.rows, 'prediction')} logged. No feedback received yet."
    received = f"{counted(outcomes.rows, 'outcome')} for {counted(predictions.rows, 'prediction')}"
    return True, f"Feedback received: {received}."


def live(model: ModelProjection | None, served: ServedModel) -> LiveRow:
    """The release that serves a model, and its headline metric."""
    known = model or ModelProjection(served.model)
    champion = known.champion
    name = served.release or (champion.name if champion else None)
    # During a swap, or after a failed one, the serving release is not the champion.
    release = next((release for release, _ in known.releases if release.name == name), None)
    change = next((change for change in reversed(known.changes) if name and change.release == name), None)
    return LiveRow(
        model=served.model,
        release=name,
        since=change.at if change else None,
        by=str(change.account) if change else None,
        verdict=change.verdict if change else None,
        as_of=release.card.as_of if release else None,
        quality=headline(release.card) if release else None,
        serving=served,
    )


def _recent(lines: Iterable[LedgerEntry]) -> tuple[LedgerAct, ...]:
    """The last entries, newest first; repeats of an act by the same account are merged."""
    acts: list[LedgerAct] = []
    for line in lines:
        act = LedgerAct(seq=line.seq, at=line.at, account=str(line.account), says=says(line))
        if acts and (acts[-1].account, acts[-1].says) == (act.account, act.says):
            acts[-1] = msgspec.structs.replace(acts[-1], times=acts[-1].times + 1)
        elif len(acts) == ACTS:
            break
        else:
            acts.append(act)
    return tuple(acts)


def says(line: LedgerEntry) -> str:
    """A ledger entry as one sentence without its subject."""
    thing = line.about.partition(":")[2] or line.about
    out = ", ".join(ref.partition(":")[2] for ref in line.refs_out if ref.startswith("release:"))
    verbs = {
        "open": f"created project {thing}",
        "publish": f"published {thing}" if line.about.startswith("stream:") else "published rebuilt tables",
        "hold": f"held an increment of {thing}",
        "accept": f"accepted an increment of {thing}",
        "features": "materialised feature views",
        "learn": f"trained {thing}",
        "release": f"created release {out}",
        "promote": f"{'rolled back to' if line.details.get('why') == 'rollback' else 'promoted'} {out}",
        "off": f"switched {thing} off",
        "on": f"switched {thing} on",
        "run-tag": f"changed the tags of run {thing.replace('@', '#')}",
        "run-end": f"finished run {thing.replace('@', '#')}{' (failed)' * (line.details.get('state') == 'failed')}",
        "dataset": f"created dataset of {thing}",
        "drop": f"deleted bundles of {thing}",
        "import": f"imported {thing}",
        "measure": f"evaluated {thing}",
        "refresh": f"refreshed {thing}",
        "reproduce": f"reproduced {thing}",
    }
    return verbs.get(line.act, f"{line.act} {thing}".strip())
