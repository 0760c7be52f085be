"""Evaluation of a tabular release on rows that arrived after its training, without retraining."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidemill.core.errors import NoSuchRelease, TooLittleData, UnknownName, nearest
from tidemill.core.progress import Progress, no_progress
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.release import Release
from tidemill.loop.examples.datasets import dataset_of, rebuild_dataset, tables_read_by
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import collect_provenance
from tidemill.loop.training.run_tracking import fan_out_progress, keep_figures
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import open_tabular
from tidemill.training.tabular.assess.assess import TestSetting, assess
from tidemill.training.tabular.assess.assessment_metrics import tabular_figures, tabular_metrics
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import FEWEST_ROWS


@dataclass(frozen=True)
class TabularEvaluation:
    """The evaluated release, its assessment, and the run that records it."""

    what: str
    assessment: Assessment
    run: str


def evaluate_model(
    stores: Stores, graph: ProjectGraph, name: str, *, progress: Progress = no_progress
) -> TabularEvaluation:
    """Evaluate a tabular release (`churn@3`; for `churn` the champion, else the newest) on unseen rows.

    These are the examples of the newest publication that it was not trained on. Raises `TooLittleData` if too few
    have arrived since. It only adds a run to the ledger.
    """
    model = name.partition("@")[0]
    if model not in graph.askings:
        raise UnknownName(f"no tabular model {model!r}", tip=nearest(model, graph.askings))
    release = _release(stores, name)
    view = stores.lake.view()
    dataset = dataset_of(stores, release)
    if dataset is None:
        raise TooLittleData(
            f"the training data of {release.name} are unknown, so no row is known to be unseen",
            tip="an imported model is evaluated on its golden rows at the import",
        )
    learned_from = rebuild_dataset(stores, graph, dataset)
    rows = _unseen(build_examples(graph, view, graph.askings[model]), learned_from, release)
    around = collect_provenance(stores.project)
    with stores.runs.begin(
        model,
        "evaluate",
        learner=release.card.learner,
        parameters=release.card.parameters,
        data={table: view.versions[table] for table in tables_read_by(graph, graph.askings[model])},
        as_of=view.as_of,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine],
    ) as run:
        fan_out_progress(run, progress)("evaluate", {"what": release.name, "rows": len(rows)})
        declared = graph.askings[model].model
        opened = open_tabular(stores.releases.bundle(release.bundle))
        naive = naive_plan(rows.task)
        protocol = f"{len(rows):,} rows that arrived after {release.name} was trained on dataset {dataset.name}"
        found = assess(
            opened,
            rows,
            baseline=(naive.name, naive.fit(learned_from)),
            setting=TestSetting(protocol, None, len(learned_from)),
            slices=declared.slices,
            fairness=declared.fairness,
        )
        for sentence in (release.name, protocol, found.worst, found.gaps_say, *found.warnings):
            run.note(sentence)
        keep_figures(stores, run, tabular_figures(opened, rows))
        run.finish(tabular_metrics(found))
    return TabularEvaluation(release.name, found, run.name)


def _release(stores: Stores, name: str) -> Release:
    model, at, _ = name.partition("@")
    if at:
        return stores.releases.get(name)
    found = stores.releases.champion(model) or next(iter(stores.releases.all(model)[::-1]), None)
    if found is None:
        raise NoSuchRelease(f"{model} has no release to evaluate", tip=f"tidemill train {model}")
    return found


def _unseen(rows: Examples, learned_from: Examples, release: Release) -> Examples:
    new = np.flatnonzero(~np.isin(row_names(rows), row_names(learned_from)))
    if len(new) < FEWEST_ROWS:
        raise TooLittleData(
            f"{len(new)} rows arrived since {release.name} was trained; at least {FEWEST_ROWS} are needed",
            tip=f"`tidemill train {release.model}` evaluates on held-out rows",
        )
    return rows.take(new)
