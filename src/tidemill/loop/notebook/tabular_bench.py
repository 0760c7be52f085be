"""Tabular workbench: a model's examples, experiments that become runs, and its champion.

bench = tm.open_project(".")
churn = bench.tabular("churn")
churn.frame.head()
tried = churn.experiment(LogisticRegression())
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa

from tidemill.core.canonical import fingerprint
from tidemill.core.errors import TooLittleData
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.dataset import Dataset
from tidemill.core.records.release import Release
from tidemill.core.records.runs import Run
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.datasets import code_of, datasets, rebuild_dataset, tables_read_by
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.examples.warm_up import warm_up
from tidemill.loop.families.model_family import family_named
from tidemill.loop.families.tabular.row_family import RowFamily
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import collect_provenance
from tidemill.loop.training.run_tracking import keep_figures
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.row_model import RowModel
from tidemill.training import SearchBudget
from tidemill.training.tabular.resolve_learner import learn_settings
from tidemill.training.tabular.rows.splits import Split, SplitRule, split_examples
from tidemill.training.tabular.train import TabularResult, train_tabular


@dataclass(frozen=True, eq=False)
class TabularExperiment:
    """The result of one experiment: its run, the model trained on all examples, and its assessment."""

    run: Run
    result: TabularResult

    @property
    def name(self) -> str:
        """`churn#3`."""
        return self.run.name

    @property
    def model(self) -> RowModel:
        """The model, trained on all examples."""
        return self.result.model

    @property
    def assessment(self) -> Assessment:
        """The assessment on held-out rows; raises `TooLittleData` if there were too few."""
        if self.result.assessment is None:
            raise TooLittleData(f"{self.name} was not evaluated: {'; '.join(self.result.notes)}")
        return self.result.assessment

    def __repr__(self) -> str:
        shown = [f"{name} {metric.value:.4f}" for name, metric in self.run.metrics.items() if " " not in name]
        return f"{self.name}: {', '.join([self.run.learner, *shown])}"


class TabularBench:
    """One tabular model at one publication. It adds runs to the ledger, but no releases."""

    def __init__(self, stores: Stores, graph: ProjectGraph, view: LakeSnapshot, model: str) -> None:
        self._stores, self._graph, self._view = stores, graph, view
        self._asking: SignatureSpec = graph.askings[model]
        self.name = model

    @cached_property
    def examples(self) -> Examples:
        """The training examples: inputs with features as of each row's time, target, time and groups."""
        return build_examples(self._graph, self._view, self._asking)

    @property
    def frame(self) -> pl.DataFrame:
        """The examples as a Polars frame: inputs, then the target under its own name."""
        examples = self.examples
        rows = cast(pl.DataFrame, pl.from_arrow(examples.inputs))
        target = pl.Series(self._asking.model.target, examples.target)
        if examples.classes:
            target = pl.Series(target.name, [examples.classes[int(code)] for code in examples.target])
        return rows.with_columns(target)

    def split(self, rule: SplitRule | None = None) -> Split:
        """Indices of the training and test rows: split by time, by group, or by the hash of a row's key."""
        return split_examples(self.examples, rule)

    def experiment(
        self, learn: Any, *, minutes: float | None = None, split: SplitRule | None = None
    ) -> TabularExperiment:
        """Train on one side of the split, evaluate on the other, and record both as a run of the ledger.

        `learn` is `tm.auto(minutes=1)` or any estimator with `fit` and `predict`.
        """
        settings = learn_settings(learn)
        with (
            self._begin(settings) as run,
            tempfile.TemporaryDirectory(prefix="tidemill-experiment-") as place,
        ):
            folder = Path(place) / "bundle"
            folder.mkdir()
            model = self._asking.model
            result = train_tabular(
                self.examples, learn, model=self.name, folder=folder, split=split, effort=SearchBudget(minutes=minutes),
                slices=model.slices, fairness=model.fairness, progress=run.progress,
            )  # fmt: skip
            if result.figures is not None:
                keep_figures(self._stores, run, result.figures)
            notes = (*result.notes, *warm_up(self._graph, self._view, self._asking, self.examples))
            run.finish(result.metrics, learner=result.plan, parameters=result.settings, notes=notes)
        return TabularExperiment(self._stores.runs.read(run.name), result)

    def _begin(self, settings: dict[str, Any]) -> Any:
        around = collect_provenance(self._stores.project)
        code = {"code": code_of(self._graph, self._asking), "learn": repr(sorted(settings.items()))}
        return self._stores.runs.begin(
            self.name,
            "notebook",
            learner=str(settings["learner"]),
            parameters={name: value for name, value in settings.items() if name != "learner"},
            data={name: self._view.versions[name] for name in tables_read_by(self._graph, self._asking)},
            as_of=self._view.as_of,
            code=fingerprint(code),
            commit=around.commit,
            changed=around.changed,
            environment=around.environment,
            notes=[around.machine],
        )

    @property
    def datasets(self) -> list[Dataset]:
        """The datasets pinned by trainings, oldest first."""
        return datasets(self._stores, self.name)

    def dataset(self, dataset: Dataset) -> Examples:
        """The examples of a dataset, rebuilt by time travel; raises `DatasetChanged` if they differ from it."""
        return rebuild_dataset(self._stores, self._graph, dataset)

    @property
    def champion(self) -> tuple[Release, RowModel] | None:
        """The live release and its model; `None` before the first promotion."""
        release = self._stores.releases.champion(self.name)
        if release is None:
            return None
        family = cast(RowFamily, family_named(release.family))
        return release, family.open(self._stores.releases.bundle(release.bundle))

    def answer(self, model: RowModel, rows: pl.DataFrame) -> pl.DataFrame:
        """A model's predictions for rows of inputs (as in `frame`)."""
        names = [field.name for field in self._asking.inputs]
        given = rows.select(names).to_arrow(compat_level=pl.CompatLevel.oldest())
        typed = pa.table({name: given[name].cast(self.examples.inputs.schema.field(name).type) for name in names})
        return pl.DataFrame({name: list(values) for name, values in model.predict(typed).items()})
