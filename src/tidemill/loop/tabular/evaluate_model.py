"""How good a tabular release is on rows that came in after it was learned: nothing is learned, only answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidemill.core.assessment import Assessment
from tidemill.core.errors import NoSuchRelease, TooLittleData, UnknownName, nearest
from tidemill.core.release import Release
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.run import Teller, silent
from tidemill.loop.surroundings import surroundings
from tidemill.loop.tabular.assembled import assemble
from tidemill.loop.tabular.datasets import dataset_of, read_again, read_by
from tidemill.loop.tracking import both, keep_figures
from tidemill.models.tabular.bundle import open_tabular
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.assess import Setting, assess
from tidemill.training.tabular.baselines import naive_plan
from tidemill.training.tabular.dataset_mark import row_names
from tidemill.training.tabular.splitting import FEWEST_ROWS
from tidemill.training.tabular.tabular_figures import tabular_figures, tabular_metrics


@dataclass(frozen=True)
class EvaluatedModel:
    """What was measured, how good it is, and the run that keeps it."""

    what: str
    assessment: Assessment
    run: str


def evaluate_model(house: House, graph: Graph, name: str, *, tell: Teller = silent) -> EvaluatedModel:
    """Measure a tabular release (`churn@3`; of `churn` the champion, else the newest) on rows that it never saw.

    These are the examples of the newest publication that were not among those it learned from. Raises `TooLittleData`
    where hardly any came in since. It changes nothing but the ledger, where it is a run.
    """
    model = name.partition("@")[0]
    if model not in graph.askings:
        raise UnknownName(f"no tabular model {model!r}", tip=nearest(model, graph.askings))
    release = _release(house, name)
    view = house.lake.view()
    dataset = dataset_of(house, release)
    if dataset is None:
        raise TooLittleData(
            f"nobody knows what {release.name} learned from, so no row is known to be new to it",
            tip="a model that was imported is measured on its golden rows when it comes in",
        )
    learned_from = read_again(house, graph, dataset)
    rows = _unseen(assemble(graph, view, graph.askings[model]), learned_from, release)
    around = surroundings(house.project)
    with house.runs.begin(
        model,
        "evaluate",
        learner=release.card.learner,
        parameters=release.card.parameters,
        data={table: view.versions[table] for table in read_by(graph, graph.askings[model])},
        as_of=view.as_of,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine],
    ) as run:
        both(run, tell)("evaluate", {"what": release.name, "rows": len(rows)})
        declared = graph.askings[model].model
        opened = open_tabular(house.releases.bundle(release.bundle))
        naive = naive_plan(rows.task)
        protocol = f"{len(rows):,} rows that came in after {release.name} was learned from dataset {dataset.name}"
        found = assess(
            opened,
            rows,
            baseline=(naive.name, naive.fit(learned_from)),
            setting=Setting(protocol, None, len(learned_from)),
            slices=declared.slices,
            fairness=declared.fairness,
        )
        for sentence in (release.name, protocol, found.worst, found.gaps_say, *found.warnings):
            run.note(sentence)
        keep_figures(house, run, tabular_figures(opened, rows))
        run.finish(tabular_metrics(found))
    return EvaluatedModel(release.name, found, run.name)


def _release(house: House, name: str) -> Release:
    model, at, _ = name.partition("@")
    if at:
        return house.releases.get(name)
    found = house.releases.champion(model) or next(iter(house.releases.all(model)[::-1]), None)
    if found is None:
        raise NoSuchRelease(f"{model} has no release to measure", tip=f"tidemill train {model}")
    return found


def _unseen(rows: Examples, learned_from: Examples, release: Release) -> Examples:
    new = np.flatnonzero(~np.isin(row_names(rows), row_names(learned_from)))
    if len(new) < FEWEST_ROWS:
        raise TooLittleData(
            f"{len(new)} rows came in since {release.name} was learned, and {FEWEST_ROWS} is the least to measure on",
            tip=f"`tidemill train {release.model}` measures on rows that it keeps apart",
        )
    return rows.take(new)
