"""Refresh of models: a champion's lists are recomputed from the counts of new days and promoted, without retraining.

Settings, vectors, trees and the evaluation are those of the trained release. A refreshed bundle depends only on that
release and the tables, not on the refreshes in between.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import from_micros, to_micros
from tidemill.core.duration import duration
from tidemill.core.errors import LeaseTaken, ReleaseError
from tidemill.core.lease import live_lease, wait_for_lease
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Lease
from tidemill.core.record_format import decode_record
from tidemill.core.records.release import Card, RefreshOrigin, Release
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.families.recommender.settings_match import declaration_difference, trained_release
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import collect_provenance
from tidemill.loop.refresh.count_store import CountUpdate, count, store
from tidemill.loop.release.go_live import go_live
from tidemill.models import open_recommender, write_recommender
from tidemill.models.learners.incremental_refresh import (
    counts_to_refresh,
    days_to_refresh,
    refresh_from_counts,
    required_counts,
)
from tidemill.models.learners.registry import learner_of
from tidemill.models.recommender.recommender import Recommender as Learned
from tidemill.training.recommender.train import RECALL_TARGET, index_recall, queries

#: The prefix of the temporary folder of a bundle.
_PLACE = "fresh-"
_DAY_US = duration("1 day")
#: Number of refreshed bundles to keep; older ones can be recomputed from the trained release and the tables.
KEPT = 7


@dataclass(frozen=True)
class RefreshStatus:
    """The refresh status of a model: how far its champion is behind the tables."""

    #: Whether the next run refreshes it.
    due: bool
    #: One sentence; if it cannot be refreshed, the reason and the command to type.
    says: str
    champion: Release | None = None
    #: The trained release: the champion, or the release that it is a refresh of.
    learned: Release | None = None
    #: The command to type before it can be refreshed again; empty if none.
    stuck: str = ""


def refresh_status(
    stores: Stores, graph: ProjectGraph, model: RecommenderDeclaration, view: LakeSnapshot | None
) -> RefreshStatus | None:
    """Whether `model` is due for a refresh from `view`, and the reason; `None` without a declared refresh."""
    if model.refresh is None:
        return None
    champion = stores.releases.champion(model.name)
    if champion is None or view is None:
        return RefreshStatus(False, f"{model.name} has no champion to refresh yet")
    learned = trained_release(stores, champion)
    refusal = _refusal(stores, graph, model, champion, learned)
    if refusal:
        return RefreshStatus(
            False, f"{model.name} cannot be refreshed: {refusal[0]}", champion, learned, stuck=refusal[1]
        )
    since = from_micros(champion.card.as_of).date()
    if champion.data.get(model.interactions) == view.versions[model.interactions]:
        return RefreshStatus(False, f"{champion.name} is up to date with all published rows", champion, learned)
    days, behind = duration(model.refresh) // _DAY_US, round((view.as_of - champion.card.as_of) / _DAY_US)
    if behind < days:
        return RefreshStatus(
            False, f"{champion.name} is as of {since}; its next refresh is due in {_days(days - behind)}",
            champion, learned,
        )  # fmt: skip
    return RefreshStatus(True, f"{champion.name} is as of {since}, {_days(behind)} behind", champion, learned)


def refresh_champions(
    stores: Stores, graph: ProjectGraph, lease: Lease, progress: Callable[[str, dict[str, Any]], None]
) -> tuple[list[str], list[str]]:
    """Refresh every champion that is due; returns the promoted releases, and notes about exceptions.

    After a kill it is repeated, with the same bundle, one ledger entry and one release.
    """
    declared = [model for model in graph.mill.recommenders.values() if model.refresh is not None]
    if not declared or not stores.ledger.last("publish"):
        return [], []
    for left in stores.state.glob(f"{_PLACE}*"):  # left by a run that was killed
        shutil.rmtree(left)
    view = stores.lake.view()
    live, sentences = [], []
    for model in declared:
        found = refresh_status(stores, graph, model, view)
        if found is None or found.learned is None or not found.due:
            sentences += [f"{found.says}: {found.stuck}"] if found and found.stuck else []
            continue
        try:
            release, notes = _refresh(stores, graph, model, view, found.learned, lease, progress)
        except ReleaseError as error:  # a damaged bundle stops neither the other models nor the days that come in
            sentences.append(f"{model.name} could not be refreshed: {error.message}; {error.tip}")
            continue
        sentences += notes
        refusal = _promote(stores, graph, release, found.champion)
        if refusal:
            sentences.append(refusal)
            continue
        live.append(release.name)
        progress("refresh", {"model": model.name, "release": release.name})
    return live, sentences


def _promote(stores: Stores, graph: ProjectGraph, release: Release, before: Release | None) -> str:
    """Promote a refresh in place of the champion `before`; or a sentence, if the champion was changed meanwhile.

    The `live` lease is held only for the promotion, so that promotions do not wait while a refresh is computed.
    """
    try:
        with wait_for_lease(stores.leases, live_lease(release.model)) as lease:
            champion = stores.releases.champion(release.model)
            if champion not in (before, release):
                now = champion.name if champion else "no release"
                return f"{release.name} was not promoted: {now} became the champion meanwhile"
            go_live(stores, graph, release.name, lease=lease, account=stores.ledger.account.doing("refresh"))
            _drop_old(stores, release.model, lease)
    except LeaseTaken as error:
        return f"{release.name} was not promoted; the next run promotes it: {error.message}"
    return ""


def _drop_old(stores: Stores, model: str, lease: Lease) -> None:
    """Remove bundles of refreshes that are older than the last `KEPT`.

    Trained bundles are kept, and so are those that were part of a rollback or are live.
    """
    releases, history = stores.releases.all(model), stores.releases.history(model)
    turned = [name for change in history if change.why == "rollback" for name in (change.release, change.before)]
    twice = [change.release for change in history]
    refreshes = [release for release in releases if release.card.refreshed]
    stays = {release.bundle for release in releases if not release.card.refreshed}
    stays |= {release.bundle for release in refreshes[-KEPT:]}
    stays |= {release.bundle for release in refreshes if release.name in turned or twice.count(release.name) > 1}
    old = {release.bundle for release in refreshes} - stays
    stores.releases.drop(model, sorted(old), f"refreshes before the last {KEPT}", lease)


def _days(n: int) -> str:
    return f"{n} day{'' if n == 1 else 's'}"


def _refusal(
    stores: Stores, graph: ProjectGraph, model: RecommenderDeclaration, champion: Release, learned: Release
) -> tuple[str, str] | None:
    """The reason why a champion cannot be refreshed, and the command to type; `None` if it can."""
    other = declaration_difference(graph, model, champion, learned)
    if other:
        return other
    if not required_counts(learner_of(learned.card.learner, learned.card.parameters)):
        says = f"no part of {learned.card.learner} is computed from counts: leave `refresh=` out"
        return says, f"tidemill train {model.name}"
    last = stores.releases.history(model.name)[-1]
    left = stores.releases.get(last.before) if last.before else champion
    if left.number > champion.number and left.card.refreshed and left.card.refreshed.of == learned.name:
        # A rollback away from these counts; a refresh would promote them again.
        return f"{left.name} was rolled back to {champion.name}", f"tidemill promote {left.name}"
    return None


def _refresh(
    stores: Stores,
    graph: ProjectGraph,
    model: RecommenderDeclaration,
    view: LakeSnapshot,
    learned: Release,
    lease: Lease,
    progress: Callable[[str, dict[str, Any]], None],
) -> tuple[Release, list[str]]:
    """A release with the current counts, and its run, without an evaluation."""
    mark = fingerprint(
        {
            "refresh": learned.name,
            "bundle": learned.bundle,
            "from": view.versions[model.interactions],
            "as_of": view.as_of,
            "tidemill": metadata.version("tidemill"),
        }
    )
    code, around = fingerprint({"graph": dict(graph.codes), "learn": mark}), collect_provenance(stores.project)
    lines = stores.ledger.find("refresh", about=f"model:{model.name}", fingerprint=mark)
    with stores.runs.begin(
        model.name,
        "refresh",
        learner=learned.card.learner,
        parameters=learner_of(learned.card.learner, learned.card.parameters).told(),
        data={model.interactions: view.versions[model.interactions]},
        as_of=view.as_of,
        code=code,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine],
        lease=lease,
    ) as run:
        if lines:
            line, notes = lines[-1], list[str]()
            run.note("the bundle was computed by an earlier run that did not finish")
        else:
            line, notes = _counted(stores, graph, model, view, learned, mark, lease, progress)
        card = msgspec.structs.replace(
            decode_record(line.details["card"], Card),
            helps=model.helps,
            could_harm=model.could_harm,
            evaluation=learned.card.evaluation,
        )
        release = stores.releases.create(
            model.name,
            line.details["bundle"],
            model.slate.rules(graph.item_views(model)),
            card,
            facts=model.slate.facts(graph.item_views(model)),
            modules=model.slate.modules(),
            code=code,
            commit=around.commit,
            environment=around.environment,
            log=model.log,
            lease=lease,
        )
        run.keep("bundle", f"bundle:{release.model}@{release.bundle}")
        run.keep("release", f"release:{release.name}")
        run.finish(notes=notes)
    return release, notes


def _counted(
    stores: Stores,
    graph: ProjectGraph,
    model: RecommenderDeclaration,
    view: LakeSnapshot,
    learned: Release,
    mark: str,
    lease: Lease,
    progress: Callable[[str, dict[str, Any]], None],
) -> tuple[LedgerEntry, list[str]]:
    """The ledger entry of a bundle with the current counts; the counts are stored for the next refresh."""
    old = open_recommender(stores.releases.bundle(learned.bundle))
    counting = count(stores, graph, model, view, counts_to_refresh(old))
    events = LearningEvents.from_snapshot(graph, model, view)
    progress("counting", {"model": model.name, "events": len(counting.events), "whole": counting.whole})
    tally = next(iter(counting.counts.values())).tally
    recent, first_seen = events.recent(stores, tally.known, days_to_refresh(old))
    fresh = refresh_from_counts(old, counting.counts, recent, first_seen)
    notes = [f"{model.name}: counted from the whole table, because {counting.whole}"] if counting.whole else []
    with tempfile.TemporaryDirectory(prefix=_PLACE, dir=stores.state) as place:
        folder = Path(place) / "bundle"
        notes += _written(stores, fresh, counting, folder)
        bundle = stores.releases.keep(folder)
    card = msgspec.structs.replace(
        learned.card,
        data={model.interactions: view.versions[model.interactions]},
        n_rows=tally.n_events,
        n_users=tally.n_users,
        n_items=fresh.n_items,
        as_of=view.as_of,
        evaluation=None,  # it is in the ledger entry of the training, and in each release
        refreshed=RefreshOrigin(of=learned.name, as_of=learned.card.as_of, at=to_micros(stores.clock.now())),
    )
    line = stores.ledger.append(
        "refresh",
        about=f"model:{model.name}",
        refs_in=[
            f"table:{model.interactions}@{view.versions[model.interactions]}",
            f"bundle:{model.name}@{learned.bundle}",
        ],
        refs_out=[f"bundle:{model.name}@{bundle}"],
        fingerprint=mark,
        details={"bundle": bundle, "card": card.json(), "publication": view.publication, "of": learned.name},
        lease=lease,
    )
    failpoint("refresh.ledger")
    store(stores, model.name).write(counting.represents, counting.counts)
    return line, notes


def _written(stores: Stores, fresh: Learned, counting: CountUpdate, folder: Path) -> list[str]:
    """Write the bundle's folder; returns a note if an index was left out because of too low recall."""
    if fresh.vectors is None:
        write_recommender(fresh, folder)
        return []
    real = counting.users_of(fresh)
    search = stores.search()
    write_recommender(fresh, folder, search, queries(fresh, real) if len(real) else None)
    opened = open_recommender(folder, search)
    if opened.index is None or not len(real) or index_recall(opened, real) >= RECALL_TARGET:
        return []
    shutil.rmtree(folder)
    write_recommender(fresh, folder)
    return [f"the recall of the {search.name} index is below {RECALL_TARGET:.0%}: exact search is used"]
