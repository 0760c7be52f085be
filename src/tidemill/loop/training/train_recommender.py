"""Training of a recommender, from published interactions to a release that can be promoted.

The same rows with the same settings are not trained again; new rules on the same bundle are released directly.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import to_micros
from tidemill.core.errors import CardIncomplete, UnknownName, UsageError, nearest
from tidemill.core.lease import train_lease
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Lease, VectorSearch
from tidemill.core.progress import Progress, no_progress
from tidemill.core.record_format import decode_record
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents, rows_of
from tidemill.loop.mirror.mirror_runs import mirror_runs
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.recovery import recover_lake
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import Provenance, collect_provenance
from tidemill.loop.training.run_tracking import begin_training, fan_out_progress, finish_training
from tidemill.models.learners.auto import learner_packages
from tidemill.training import RunTracker, SearchBudget, TrainResult, train_recommender
from tidemill.training.search.search_budget import DEFAULT_BUDGET

#: The prefix of the temporary folder of a bundle, before the model's name.
_PLACE = "learn-"


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training."""

    release: Release
    card: Card
    #: Whether it was trained now; if not, the bundle of an earlier training is used.
    anew: bool
    notes: tuple[str, ...] = ()
    #: The run of the training, for example `for_you#3`; empty if nothing was trained.
    run: str = ""


def learn(
    stores: Stores,
    graph: ProjectGraph,
    name: str,
    *,
    at: int | None = None,
    rules_only: bool = False,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train the model `name` on the published data, evaluate it, and create a release.

    `at` (microseconds) is the split of the evaluation. `rules_only` uses the last bundle, however old. `effort` limits
    the choice of settings. A training is a run; an interrupted one is resumed. Raises `CardIncomplete` before the
    training if `helps=` or `could_harm=` is missing.
    """
    model = model_named(graph, name)
    if not model.helps.strip() or not model.could_harm.strip():
        raise CardIncomplete(
            f"{name} does not say who is served and who could be harmed",
            tip="set `helps=` and `could_harm=` in mill.py",
        )
    rules = model.slate.rules(graph.item_views(model))
    with stores.leases.take(train_lease(name)) as lease:
        recover_lake(stores)
        remove_left_folders(stores, name)
        around = collect_provenance(stores.project)
        training = _RecommenderTraining(stores, lease, graph, model, rules, stores.lake.view(), at, effort, around)
        line = _earlier(stores, name, None if rules_only else training.mark)
        if line is not None:
            return TrainingResult(*_release(training, line), anew=False)
        run, known = begin_training(stores, model, training.view, training.code, around, lease)
        with run:
            training = replace(training, effort=replace(effort, known=known, keep=run.trial))
            line, result = _learn(training, run, fan_out_progress(run, progress))
            release, card = _release(training, line)
            finish_training(stores, run, result, release)
    return TrainingResult(release, card, anew=True, notes=(*result.notes, *mirror_runs(stores)), run=run.name)


def folder_prefix(model: str) -> str:
    """The prefix of the temporary folder of a bundle of `model`; model names contain no `@`."""
    return f"{_PLACE}{model}@"


def remove_left_folders(stores: Stores, model: str) -> None:
    """Remove the folders of killed trainings of `model`, while its lease is held."""
    for left in stores.state.glob(f"{_PLACE}*"):
        # A folder without a model's name is from an older version, which trained one model at a time.
        if "@" not in left.name or left.name.startswith(folder_prefix(model)):
            shutil.rmtree(left)


@dataclass(frozen=True)
class _RecommenderTraining:
    """The inputs of a training: a model as declared in mill.py, its publication, and the current code."""

    stores: Stores
    lease: Lease
    graph: ProjectGraph
    model: RecommenderDeclaration
    rules: RuleSet
    view: LakeSnapshot
    #: The split of the evaluation (microseconds).
    at: int | None
    effort: SearchBudget
    around: Provenance

    @property
    def mark(self) -> str:
        """The fingerprint of everything that the result depends on."""
        return fingerprint(
            {
                "learn": msgspec.json.encode(self.model.learn).decode(),
                "from": self.view.versions[self.model.interactions],
                "at": self.at or 0,
                "effort": [self.effort.seed, self.effort.trials, str(self.effort.minutes)],
                "tidemill": metadata.version("tidemill"),
            }
            | ({"packages": packages} if (packages := learner_packages(self.model.learn)) else {})
        )

    @property
    def code(self) -> str:
        """The same, with all code of the project."""
        return fingerprint({"graph": dict(self.graph.codes), "learn": self.mark})


def _release(training: _RecommenderTraining, line: LedgerEntry) -> tuple[Release, Card]:
    """The release of a training's ledger entry, with the current rules."""
    model = training.model
    card = msgspec.structs.replace(
        decode_record(line.details["card"], Card), helps=model.helps, could_harm=model.could_harm
    )
    release = training.stores.releases.create(
        model.name,
        line.details["bundle"],
        training.rules,
        card,
        facts=model.slate.facts(training.graph.item_views(model)),
        modules=model.slate.modules(),
        code=training.code,
        commit=training.around.commit,
        environment=training.around.environment,
        log=model.log,
        lease=training.lease,
    )
    return release, card


def model_named(graph: ProjectGraph, name: str) -> RecommenderDeclaration:
    """The model of that name, or an error with the nearest name."""
    if name not in graph.mill.recommenders:
        raise UnknownName(f"no model {name!r}", tip=nearest(name, graph.mill.recommenders))
    return graph.mill.recommenders[name]


def _earlier(stores: Stores, name: str, mark: str | None) -> LedgerEntry | None:
    """The ledger entry of an earlier training with this fingerprint; with `None` the last."""
    if mark is None:
        found = stores.ledger.last("learn", f"model:{name}")
        if found is None:
            raise UsageError(
                f"{name} has not been trained, so there are no rules to change", tip=f"tidemill train {name}"
            )
        return found
    lines = stores.ledger.find("learn", about=f"model:{name}", fingerprint=mark)
    return lines[-1] if lines else None


def _learn(training: _RecommenderTraining, run: RunTracker, progress: Progress) -> tuple[LedgerEntry, TrainResult]:
    """Train now; returns the ledger entry of the bundle, and the result."""
    stores, model, view = training.stores, training.model, training.view
    with tempfile.TemporaryDirectory(prefix=folder_prefix(model.name), dir=stores.state) as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        result, rows = learned_bundle(
            training.graph,
            model,
            view,
            folder,
            rules=training.rules,
            search=stores.search(),
            at=training.at,
            effort=training.effort,
            progress=progress,
        )
        card = _card(training, result)
        bundle = stores.releases.keep(folder)
    line = stores.ledger.append(
        "learn",
        about=f"model:{model.name}",
        refs_in=[f"table:{model.interactions}@{view.versions[model.interactions]}"],
        refs_out=[f"bundle:{model.name}@{bundle}"],
        fingerprint=training.mark,
        details={
            "bundle": bundle,
            "card": card.json(),
            "publication": view.publication,
            "run": run.name,
            "rows": rows,
        },
        lease=training.lease,
    )
    failpoint("bundle.ledger")
    return line, result


def learned_bundle(
    graph: ProjectGraph,
    model: RecommenderDeclaration,
    view: LakeSnapshot,
    folder: Path,
    *,
    search: VectorSearch,
    rules: RuleSet | None = None,
    at: int | None = None,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = no_progress,
) -> tuple[TrainResult, str]:
    """Train `model` on `view` into the empty `folder`; returns the result and a sha256 over the rows.

    It only reads the view and writes the folder: a training and its reproduction share this function.
    """
    events = LearningEvents.from_snapshot(graph, model, view).all()
    progress("learning", {"model": model.name, "rows": len(events), "version": view.versions[model.interactions]})
    result = train_recommender(
        events,
        model.learn,
        model=model.name,
        as_of=view.as_of,
        folder=folder,
        rules=rules,
        search=search,
        at=at,
        effort=effort,
        progress=progress,
    )
    return result, rows_of(events)


def _card(training: _RecommenderTraining, result: TrainResult) -> Card:
    model, view = training.model, training.view
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
        learned_at=to_micros(training.stores.clock.now()),
        as_of=view.as_of,
    )
