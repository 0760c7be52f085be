"""Training of a tabular model, from one publication to a release that can be promoted.

The same rows, code and settings are not trained again.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import to_micros
from tidemill.core.errors import BundleCorrupt, CardIncomplete
from tidemill.core.lease import train_lease
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Lease
from tidemill.core.progress import Progress, no_progress
from tidemill.core.record_format import decode_record
from tidemill.core.records.dataset import Dataset
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import Signature
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.datasets import code_of, pin_dataset, tables_read_by
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.features.feature_significance import examples_significance
from tidemill.loop.mirror.mirror_runs import mirror_runs
from tidemill.loop.online.feature_metadata_files import Significance, write_significance
from tidemill.loop.project.declarations import TabularDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.loop.project.pretrained_folders import keep_pretrained, origins
from tidemill.loop.project.recovery import recover_lake
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import Provenance, collect_provenance, keep_code_of, keep_environment_of
from tidemill.loop.training.run_tracking import fan_out_progress, keep_figures
from tidemill.loop.training.train_recommender import TrainingResult, folder_prefix, remove_left_folders
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import open_tabular
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training import RunTracker, SearchBudget
from tidemill.training.search.search_budget import DEFAULT_BUDGET
from tidemill.training.tabular.assess.assessment_metrics import tabular_metrics
from tidemill.training.tabular.resolve_learner import learn_settings, origin_of
from tidemill.training.tabular.train import TabularResult, train_tabular


def learn_model(
    stores: Stores,
    graph: ProjectGraph,
    name: str,
    *,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train the tabular model `name` on the published data, evaluate it, and create a release.

    Raises `CardIncomplete` before the training if `helps=` or `could_harm=` is missing.
    """
    asking = graph.askings[name]
    model = asking.model
    if not model.helps.strip() or not model.could_harm.strip():
        raise CardIncomplete(
            f"{name} does not say who is served and who could be harmed",
            tip="set `helps=` and `could_harm=` in mill.py",
        )
    with stores.leases.take(train_lease(name)) as lease:
        recover_lake(stores)
        remove_left_folders(stores, name)
        training = _TabularTraining(
            stores, lease, graph, asking, stores.lake.view(), effort, collect_provenance(stores.project)
        )
        earlier = stores.ledger.find("learn", about=f"model:{name}", fingerprint=training.mark)
        if earlier:
            return TrainingResult(*_release(training, earlier[-1]), anew=False)
        examples = build_examples(graph, training.view, asking)
        dataset = pin_dataset(stores, graph, training.view, name, examples, lease)
        run = _begin(training, dataset)
        with run:
            line, result = _learn(training, run, examples, dataset, fan_out_progress(run, progress))
            release, card = _release(training, line)
            run.keep("bundle", f"bundle:{name}@{release.bundle}")
            run.keep("release", f"release:{release.name}")
            run.keep("dataset", f"dataset:{dataset.name}")
            keep_environment_of(stores, run)
            if result.figures is not None:
                keep_figures(stores, run, result.figures)
            run.finish(
                tabular_metrics(result.assessment) if result.assessment else {},
                learner=result.plan,
                parameters=result.settings,
                notes=_notes(result),
            )
        _leave_significance(training, examples)
    return TrainingResult(release, card, anew=True, notes=(*_notes(result), *mirror_runs(stores)), run=run.name)


def _notes(result: TabularResult) -> tuple[str, ...]:
    """The notes of the training: the comparison with the baseline and the champion, and more."""
    return (*result.beats, *([result.stays] if result.stays else []), *result.notes)


@dataclass(frozen=True)
class _TabularTraining:
    stores: Stores
    lease: Lease
    graph: ProjectGraph
    asking: SignatureSpec
    view: LakeSnapshot
    effort: SearchBudget
    around: Provenance

    @property
    def model(self) -> TabularDeclaration:
        return self.asking.model

    @property
    def data(self) -> dict[str, int]:
        """Table -> version, for the tables of the examples."""
        return {name: self.view.versions[name] for name in tables_read_by(self.graph, self.asking)}

    @property
    def mark(self) -> str:
        """The fingerprint of everything that the result depends on."""
        model = self.model
        inputs: dict[str, Any] = {
            "learn": msgspec.json.encode(learn_settings(model.learn)).decode(),
            "from": self.data,
            "code": code_of(self.graph, self.asking),
            "asked": msgspec.json.encode([self.asking.request, self.asking.inputs, self.asking.lookups]).decode(),
            "model": [model.target, model.task or "", model.positive or "", model.group or ""],
            "looked at": [*model.slices, "", *model.fairness],
            "effort": [self.effort.seed, str(self.effort.minutes)],
            "tidemill": metadata.version("tidemill"),
        }
        return fingerprint(inputs)

    @property
    def code(self) -> str:
        """The same, with all code of the project."""
        return fingerprint({"graph": dict(self.graph.codes), "learn": self.mark})


def _begin(training: _TabularTraining, dataset: Dataset) -> RunTracker:
    stores, around, view = training.stores, training.around, training.view
    settings = learn_settings(training.model.learn)
    run = stores.runs.begin(
        training.model.name,
        "auto" if settings.get("learner") == "auto" else "train",
        learner=str(settings.get("learner", "")),
        parameters={name: value for name, value in settings.items() if name != "learner"},
        data=training.data,
        as_of=view.as_of,
        code=training.code,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine, f"{dataset.n_rows:,} rows of dataset {dataset.name}"],
        lease=training.lease,
    )
    keep_code_of(stores, run, around)
    return run


def _learn(
    training: _TabularTraining, run: RunTracker, examples: Examples, dataset: Dataset, progress: Progress
) -> tuple[LedgerEntry, TabularResult]:
    """Train now; returns the ledger entry of the bundle, and the result."""
    stores, model = training.stores, training.model
    progress("learning", {"model": model.name, "rows": len(examples), "dataset": dataset.name})
    with tempfile.TemporaryDirectory(prefix=folder_prefix(model.name), dir=stores.state) as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        result = train_tabular(
            examples,
            model.learn,
            model=model.name,
            folder=folder,
            effort=training.effort,
            slices=model.slices,
            fairness=model.fairness,
            champion=_champion(stores, model.name),
            progress=progress,
        )
        keep_pretrained(training.asking, folder)
        bundle = stores.releases.keep(folder)
    line = stores.ledger.append(
        "learn",
        about=f"model:{model.name}",
        refs_in=[f"dataset:{dataset.name}", *(f"table:{name}@{number}" for name, number in training.data.items())],
        refs_out=[f"bundle:{model.name}@{bundle}"],
        fingerprint=training.mark,
        details={
            "bundle": bundle,
            "card": _card(training, result).json(),
            "signature": training.asking.signature(examples.task, examples.classes, result.model.recipe.inputs).json(),
            "publication": training.view.publication,
            "run": run.name,
            "rows": dataset.mark,
        },
        lease=training.lease,
    )
    failpoint("bundle.ledger")
    return line, result


def _leave_significance(training: _TabularTraining, examples: Examples) -> None:
    """Write the significance of each input, for the console."""
    stores, view = training.stores, training.view
    found = Significance(
        model=training.model.name,
        target=training.model.target,
        at=to_micros(stores.clock.now()),
        publication=view.publication,
        p=examples_significance(examples),
    )
    write_significance(stores.serving_root, found)


def _champion(stores: Stores, name: str) -> tuple[str, TabularModel] | None:
    """The champion and its model, if it can be opened."""
    release = stores.releases.champion(name)
    if release is None or release.signature is None:
        return None
    try:
        return release.name, open_tabular(stores.releases.bundle(release.bundle))
    except BundleCorrupt:
        return None


def _release(training: _TabularTraining, line: LedgerEntry) -> tuple[Release, Card]:
    model = training.model
    card = msgspec.structs.replace(
        decode_record(line.details["card"], Card), helps=model.helps, could_harm=model.could_harm
    )
    release = training.stores.releases.create(
        model.name,
        line.details["bundle"],
        RuleSet(retrieve=()),
        card,
        modules=training.asking.modules,
        code=training.code,
        commit=training.around.commit,
        environment=training.around.environment,
        log=model.log,
        signature=decode_record(line.details["signature"], Signature),
        lease=training.lease,
    )
    return release, card


def _card(training: _TabularTraining, result: TabularResult) -> Card:
    model, view = training.model, training.view
    return Card(
        model=model.name,
        helps=model.helps,
        could_harm=model.could_harm,
        learner=result.plan,
        parameters=result.settings,
        evaluation=None,
        assessment=result.assessment,
        origin=origin_of(model.learn) | origins(training.asking),
        data=training.data,
        n_rows=result.n_rows,
        n_users=0,
        n_items=0,
        learned_at=to_micros(training.stores.clock.now()),
        as_of=view.as_of,
    )
