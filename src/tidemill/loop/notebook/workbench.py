"""The workbench: a project opened in a notebook for data, experiments and champions.

    import tidemill as tm

    bench = tm.open_project(".")
    bench.tables["ratings"]
    tried = bench.experiment("for_you", tm.item_knn())

It reads published data and adds runs to the ledger. It takes no lease, so it never blocks a run, a training or a
server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from tidemill.core import settings
from tidemill.core.canonical import fingerprint
from tidemill.core.clock import SystemClock, from_micros
from tidemill.core.errors import UnknownName, nearest
from tidemill.core.records.release import Release, RuleSet
from tidemill.core.records.runs import Run
from tidemill.features import ItemFacts
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.notebook.activity_plot import Activity
from tidemill.loop.notebook.compare_runs import RunComparisonView, compare_runs
from tidemill.loop.notebook.item_map_drawing import MapDrawing
from tidemill.loop.notebook.item_names import ItemNames
from tidemill.loop.notebook.snapshot_frames import SnapshotFeatures, SnapshotTables
from tidemill.loop.notebook.tabular_bench import TabularBench, TabularExperiment
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import find_project, load_mill
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.provenance.provenance import Provenance, collect_provenance
from tidemill.loop.training.run_tracking import keep_figures
from tidemill.models import (
    Interactions,
    LearnerSpec,
    Recommender,
    item_map,
    learn,
    load_functions,
    open_recommender,
    popular,
)
from tidemill.models.slates.slate_steps import SteppedEngine
from tidemill.release import module_sources
from tidemill.training import Measurement, PerUnitMetrics, RunTracker, TimeSplit, choose, measure, split_at

#: The metrics shown for an experiment.
_SHOWN = ("hit_rate@10[all]", "hit_rate@10[warm]")


@dataclass(frozen=True, eq=False)
class Champion:
    """The live model: its release, the recommender, and the slate over the same facts as in the server."""

    release: Release
    recommender: Recommender
    slate: SteppedEngine


@dataclass(frozen=True, eq=False)
class Experiment:
    """The result of one experiment: its run, the model trained before the split, and its metrics."""

    run: Run
    recommender: Recommender
    measurement: Measurement

    @property
    def name(self) -> str:
        """`for_you#3`."""
        return self.run.name

    def __repr__(self) -> str:
        shown = [f"{name} {metric.value:.4f}" for name, metric in self.run.metrics.items() if name in _SHOWN]
        return f"{self.name}: {', '.join([self.run.learner, *shown])}"


def open_project(project: str | Path = ".", profile: str | None = None) -> Workbench:
    """The project in `project` or above it, opened at its newest publication for reading and for experiments.

    `profile` is one of `tidemill.toml`, by default `laptop`. Raises `ProjectMissing` if there is no project or it
    has not run yet.
    """
    folder = find_project(Path(project))
    loaded = settings.load(folder, profile=profile)
    mill = load_mill(folder)
    stores = open_stores(folder, loaded, SystemClock())
    return Workbench(stores, ProjectGraph.of_project(mill, stores))


class Workbench:
    """One publication of a project. Open the project again to see later publications."""

    def __init__(self, stores: Stores, graph: ProjectGraph) -> None:
        self._stores, self._graph = stores, graph
        self._view: LakeSnapshot = stores.lake.view()
        #: The rows of each table, and of each feature view, as Polars frames.
        self.tables = SnapshotTables(self._view)
        self.features = SnapshotFeatures(self._view, graph)
        self._events: dict[str, Interactions] = {}
        self._users: dict[str, dict[str, int]] = {}

    def __repr__(self) -> str:
        models = [f"{name}: {release.name if (release := self._live(name)) else 'no champion'}" for name in self.models]
        return "\n".join([
            f"{self._graph.mill.name}: publication {self.publication}, all days before {self.as_of:%Y-%m-%d %H:%M} UTC",
            "", repr(self.tables), "", *models,
        ])  # fmt: skip

    # ---- data

    @property
    def publication(self) -> int:
        """The number of the publication that all data come from."""
        return self._view.publication

    @property
    def as_of(self) -> datetime:
        """The as-of of the publication."""
        return from_micros(self._view.as_of)

    @property
    def models(self) -> list[str]:
        """The models that mill.py declares."""
        return sorted(self._graph.mill.models)

    def tabular(self, model: str) -> TabularBench:
        """A tabular model: its examples, experiments and champion."""
        if model not in self._graph.askings:
            raise UnknownName(f"no tabular model {model!r}", tip=nearest(model, self._graph.askings))
        return TabularBench(self._stores, self._graph, self._view, model)

    def interactions(self, model: str) -> Interactions:
        """The interactions (user, item, time) that the model is trained on: arrays, sorted by user and time."""
        if model not in self._events:
            declared = self._graph.recommender(model)
            source = LearningEvents.from_snapshot(self._graph, declared, self._view)
            self._events[model] = source.all(declared.learn)
        return self._events[model]

    def activity(self, model: str) -> Activity:
        """Events over time: a chart in a notebook, `.frame` has the numbers."""
        return Activity.from_interactions(self.interactions(model))

    def split(self, model: str, at: datetime | None = None) -> TimeSplit:
        """The interactions before and after one instant, by default after 90% of the events."""
        return split_at(self.interactions(model), None if at is None else round(at.timestamp() * 1_000_000))

    def history(self, model: str, user: str) -> tuple[list[str], list[int]]:
        """The items of one user, oldest first, and their times (microseconds); `user` is a surrogate."""
        events = self.interactions(model)
        if user not in self._codes(model):
            return [], []
        items, times = events.history(self._codes(model)[user])
        return [events.items[code] for code in items.tolist()], times.tolist()

    def names(self, model: str) -> ItemNames:
        """Display names of a model's items, from the table declared as `items=`, if any."""
        table = self._graph.recommender(model).items
        if table is None or table not in self.tables:
            return ItemNames()
        return ItemNames.from_items(self.tables[table], self._graph.roles(self._graph.recommender(model)).item)

    # ---- training

    def run(self, model: str, kind: str = "notebook", *, learner: str = "", **parameters: Any) -> RunTracker:
        """Begin a run of the ledger, to be used in a `with` statement: it ends with the block, or fails with it.

        `run.log(step, loss=0.3)` records metrics during the run, `run.finish({"hit_rate@10": 0.12})` the final metrics.
        """
        declared, around = self._graph.recommender(model), self._around
        return self._stores.runs.begin(
            model,
            kind,
            learner=learner,
            parameters=parameters,
            data={declared.interactions: self._view.versions[declared.interactions]},
            as_of=self._view.as_of,
            code=fingerprint({"graph": dict(self._graph.codes), "learner": learner, "parameters": repr(parameters)}),
            commit=around.commit,
            changed=around.changed,
            environment=around.environment,
            notes=[around.machine],
        )

    def experiment(self, model: str, learner: LearnerSpec, split: TimeSplit | None = None) -> Experiment:
        """Train before the split, evaluate after it, and record both as a run, with the metrics of each user.

        Settings that the learner leaves open are chosen on validation days before the split. Experiments with the same
        split are evaluated on the same users, so `compare` can pair them.
        """
        split = split or self.split(model)
        with self.run(model, learner=learner.name, **learner.settings()) as run:
            choice = choose(learner, split.train, progress=run.progress)
            recommender = learn(choice.spec, split.train, split.at, progress=run.progress)
            measurement = self.measure(model, recommender, split)
            keep_figures(self._stores, run, PerUnitMetrics.from_measurement(measurement))
            run.finish(measurement.evaluation.metrics(), parameters=choice.spec.told(), notes=choice.notes)
        return Experiment(self._stores.runs.read(run.name), recommender, measurement)

    def learn(self, model: str, learner: LearnerSpec, split: TimeSplit | None = None) -> Recommender:
        """A model trained on all published days, or on those before a split, without a run and without evaluation.

        Settings that the learner leaves open are chosen on validation days at the end of these days.
        """
        events = split.train if split else self.interactions(model)
        return learn(choose(learner, events).spec, events, split.at if split else self._view.as_of)

    def measure(self, model: str, recommender: Recommender, split: TimeSplit) -> Measurement:
        """Evaluate a recommender, trained on `split.train`, on the days after it, through the model's slate."""
        return measure(recommender, split, model=model, rules=_fitting(self._rules(model), recommender))

    def runs(self, model: str | None = None) -> pl.DataFrame:
        """All runs, newest first, one row each, with their metrics."""
        rows = [
            {
                "run": run.name,
                "kind": run.kind,
                "state": run.state,
                "learner": run.learner,
                "began": from_micros(run.started_at),
                "seconds": run.cost.wall_s if run.cost else None,
                **{name: metric.value for name, metric in run.metrics.items() if " " not in name},
            }
            for run in self._stores.runs.all(model)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def compare(self, *runs: str | Experiment | TabularExperiment) -> RunComparisonView:
        """Compare runs with the first one, paired if they were evaluated on the same users."""
        return RunComparisonView(
            compare_runs(self._stores, [run if isinstance(run, str) else run.name for run in runs])
        )

    # ---- champion and slate

    def champion(self, model: str) -> Champion | None:
        """The live release, opened; `None` before the first promotion."""
        release = self._live(model)
        if release is None:
            return None
        store = self._stores.releases
        bundle = store.bundle(release.bundle)
        sources = module_sources(release, store.modules(release))
        functions = load_functions(release.rules, sources, release.rule_modules)
        recommender = open_recommender(bundle, self._stores.search())
        facts = self._facts(model, recommender, release.facts)
        return Champion(release, recommender, SteppedEngine(recommender, release.rules, facts, functions))

    def slate(self, model: str, recommender: Recommender) -> SteppedEngine:
        """The slate of mill.py over any recommender, with the server's facts: `.answer(…)`, `.steps(…)`."""
        spec = self._graph.recommender(model).slate
        rules = _fitting(self._rules(model), recommender)
        views = spec.facts(self._graph.item_views(self._graph.recommender(model)))
        facts = self._facts(model, recommender, views)
        return SteppedEngine(recommender, rules, facts, load_functions(rules, spec.modules()))

    def map(self, model: str, recommender: Recommender, *, at_most: int = 800, neighbours: int = 8) -> MapDrawing:
        """The recommender's items on a plane, for a notebook; pointing at an item lists its nearest items."""
        return MapDrawing(item_map(recommender, at_most=at_most, neighbours=neighbours), self.names(model))

    # ---- internals

    @cached_property
    def _around(self) -> Provenance:
        return collect_provenance(self._stores.project)

    def _codes(self, model: str) -> dict[str, int]:
        events = self.interactions(model)
        if model not in self._users:
            self._users[model] = {user: code for code, user in enumerate(events.users)}
        return self._users[model]

    def _live(self, model: str) -> Release | None:
        return self._stores.releases.champion(model)

    def _rules(self, model: str) -> RuleSet:
        declared = self._graph.recommender(model)
        return declared.slate.rules(self._graph.item_views(declared))

    def _facts(self, model: str, recommender: Recommender, views: Any) -> ItemFacts:
        return ItemFacts(
            self._stores.latest,
            recommender.items,
            views=views,
            counted=f"{model}.items",
            as_of=lambda: self._view.as_of,
        )


def _fitting(rules: RuleSet, recommender: Recommender) -> RuleSet:
    """The rules, without `nearest` for a popularity-only model."""
    if recommender.parts:
        return rules
    drawn = tuple(rule for rule in rules.retrieve if rule.name != "nearest")
    return msgspec.structs.replace(rules, retrieve=drawn or (popular(days=30),))
