"""Training of a model that predicts from a row, its repetition, and the comparison of two bundles."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.canonical import fingerprint
from tidemill.core.clock import to_micros
from tidemill.core.errors import BundleCorrupt, TidemillError
from tidemill.core.processes.memory import gigabytes, require_memory, share_that_fits
from tidemill.core.progress import Progress
from tidemill.core.records.dataset import Dataset
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Card, Sample
from tidemill.governance.reproduction import AnswerComparison, compare_numbers
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.datasets import code_of, dataset_of, pin_dataset, rebuild_dataset, tables_read_by
from tidemill.loop.examples.training_examples import build_examples, examples_memory_bytes
from tidemill.loop.examples.warm_up import warm_up
from tidemill.loop.families.model_family import (
    FittedModel,
    RecordedSettings,
    RelearnOutcome,
    ReleaseParts,
    RunStart,
    TrainingInputs,
    card_of,
    package_of,
)
from tidemill.loop.families.tabular.row_family import RowFamily
from tidemill.loop.features.feature_significance import examples_significance
from tidemill.loop.online.feature_metadata_files import Significance, write_significance
from tidemill.loop.project.declarations import TabularDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.loop.project.pretrained_folders import keep_pretrained, origins
from tidemill.models.learners.auto import Auto
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import BundleFormat, read_golden
from tidemill.training import (
    SearchBudget,
    TabularResult,
    dataset_fingerprint,
    train_tabular,
)
from tidemill.training.tabular.automl.auto_plan import plan_from
from tidemill.training.tabular.champion import LiveChampion
from tidemill.training.tabular.resolve_learner import learn_settings, origin_of
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import SplitRule

U64 = npt.NDArray[np.uint64]

#: Number of examples to compare for a bundle without golden rows.
ROWS = 2_000


def retrain(
    family: RowFamily, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path
) -> RelearnOutcome:
    """Train with recorded settings into the empty `folder`."""
    asking = graph.askings[settled.model]
    examples = build_examples(graph, view, asking)
    result = _retrained(family, asking.model, settled, examples, folder)
    keep_pretrained(asking, folder)
    return RelearnOutcome(n_rows=result.n_rows, rows=dataset_fingerprint(examples), metrics=result.metrics)


def measured(
    family: RowFamily, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot
) -> dict[str, Metric]:
    """Train with recorded settings before the split of these rows, and evaluate after it."""
    asking = graph.askings[settled.model]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        return _retrained(family, asking.model, settled, build_examples(graph, view, asking), folder).metrics


def compare(
    family: RowFamily, graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path
) -> AnswerComparison:
    """Compare the predictions of two bundles on the golden rows; if there are none, on the examples."""
    inputs, answers = read_golden(before)
    if len(inputs):
        return compare_numbers(answers, family.open(after).answer(inputs))
    inputs = build_examples(graph, view, graph.askings[model]).inputs.slice(0, ROWS)
    return compare_numbers(family.open(before).answer(inputs), family.open(after).answer(inputs))


@dataclass(frozen=True)
class RowTraining:
    """See `Training`."""

    inputs: TrainingInputs
    family: RowFamily

    @property
    def model(self) -> TabularDeclaration:
        return self._asking.model

    @property
    def _asking(self) -> SignatureSpec:
        return self.inputs.graph.askings[self.inputs.name]

    @property
    def data(self) -> dict[str, int]:
        """Table -> version, for the tables of the examples."""
        tables = tables_read_by(self.inputs.graph, self._asking)
        return {name: self.inputs.view.versions[name] for name in tables}

    @cached_property
    def mark(self) -> str:
        model, asking, effort = self.model, self._asking, self.inputs.effort
        depends_on: dict[str, Any] = {
            "learn": msgspec.json.encode(learn_settings(model.learn)).decode(),
            "from": self.data,
            "code": code_of(self.inputs.graph, asking),
            "asked": msgspec.json.encode([asking.request, asking.inputs, asking.lookups]).decode(),
            "model": [model.target, model.task or "", model.positive or "", model.group or ""],
            "looked at": [
                *model.slices,
                "",
                *(f"{name}={group}" if group else name for name, group in model.fairness.items()),
            ],
            "effort": [effort.seed, str(self._limit)],
            "tidemill": metadata.version("tidemill"),
        }
        if model.sample < 1:
            depends_on["sample"] = str(model.sample)
        if self.inputs.at is not None:
            depends_on["at"] = self.inputs.at
        if package := package_of(self.family.name):
            depends_on["family"] = package
        return fingerprint(depends_on)

    @property
    def _limit(self) -> float | None:
        """The minutes of the command, where they limit more than `tm.auto()` itself does."""
        learn, minutes = self.model.learn, self.inputs.effort.minutes
        return minutes if minutes is not None and isinstance(learn, Auto) and minutes < learn.time_limit() else None

    def parts(self) -> ReleaseParts:
        return ReleaseParts(modules=self._asking.modules)

    @cached_property
    def _examples(self) -> Examples:
        fits = share_that_fits(self._memory_bytes, self.model.sample)
        require_memory(
            self._memory_bytes,
            f"to train {self.model.name} on the rows of {self.model.examples}",
            f"write sample={fits:.1g} in mill.model(…), or name fewer inputs=",
        )
        return build_examples(self.inputs.graph, self.inputs.view, self._asking)

    @property
    def _memory_bytes(self) -> int:
        return examples_memory_bytes(self.inputs.graph, self.inputs.view, self._asking)

    @cached_property
    def _dataset(self) -> Dataset:
        inputs = self.inputs
        return pin_dataset(inputs.stores, inputs.graph, inputs.view, inputs.name, self._examples, inputs.lease)

    def prepare(self) -> RunStart:
        settings = learn_settings(self.model.learn)
        return RunStart(
            "auto" if settings.get("learner") == "auto" else "train",
            str(settings.get("learner", "")),
            {name: value for name, value in settings.items() if name != "learner"},
            (
                f"{self._dataset.n_rows:,} rows of dataset {self._dataset.name}, about {gigabytes(self._memory_bytes)} "
                "of memory",
            ),
            {"dataset": f"dataset:{self._dataset.name}"},
        )

    def fit(self, folder: Path, effort: SearchBudget, progress: Progress) -> FittedModel:
        model, examples, dataset = self.model, self._examples, self._dataset
        progress("learning", {"model": model.name, "rows": len(examples), "dataset": dataset.name})
        result = train_tabular(
            examples,
            model.learn,
            model=model.name,
            folder=folder,
            split=_rule(self.inputs.at),
            effort=effort,
            slices=model.slices,
            fairness=model.fairness,
            champion=self._champion(),
            form=_form(self.family),
            progress=progress,
        )
        keep_pretrained(self._asking, folder)
        early = warm_up(self.inputs.graph, self.inputs.view, self._asking, examples)
        return FittedModel(
            card=self._card(result),
            rows=dataset.mark,
            refs_in=(f"dataset:{dataset.name}", *(f"table:{name}@{number}" for name, number in self.data.items())),
            parameters=result.settings,
            metrics=result.metrics,
            figures=result.figures,
            signature=self._asking.signature(result.model),
            notes=(*result.beats, *([result.stays] if result.stays else []), *result.notes, *early),
        )

    def _champion(self) -> LiveChampion | None:
        """The champion, if it is of this family and can be opened."""
        stores = self.inputs.stores
        release = stores.releases.champion(self.model.name)
        if release is None or release.family != self.family.name:
            return None
        try:
            model = self.family.open(stores.releases.bundle(release.bundle))
        except BundleCorrupt:
            return None
        dataset = dataset_of(stores, release)

        def trained_on() -> U64 | None:
            try:
                return row_names(rebuild_dataset(stores, self.inputs.graph, dataset)) if dataset else None
            except TidemillError:  # its rows are not there any more, or the code of its columns has changed
                return None

        return LiveChampion(
            release.name,
            model,
            release.card.learner,
            release.card.parameters,
            same_rows=dataset is not None and dataset.mark == self._dataset.mark,
            trained_on=trained_on,
        )

    def finish(self) -> None:
        """Write the significance of each input, for the console."""
        stores = self.inputs.stores
        found = Significance(
            model=self.model.name,
            target=self.model.target,
            at=to_micros(stores.clock.now()),
            publication=self.inputs.view.publication,
            p=examples_significance(self._examples),
        )
        write_significance(stores.serving_root, found)

    def _card(self, result: TabularResult) -> Card:
        return card_of(
            self,
            learner=result.plan,
            parameters=result.settings,
            evaluation=None,
            assessment=result.assessment,
            origin=origin_of(self.model.learn) | origins(self._asking),
            n_rows=result.n_rows,
            n_users=0,
            n_items=0,
            sample=None
            if self.model.sample == 1
            else Sample(share=self.model.sample, n_rows=result.n_rows, used_for="everything"),
        )


def _form(family: RowFamily) -> BundleFormat:
    return BundleFormat(family.write, family.open)


def _rule(at: int | None) -> SplitRule | None:
    return None if at is None else SplitRule(at=at)


def _retrained(
    family: RowFamily, model: TabularDeclaration, settled: RecordedSettings, examples: Examples, folder: Path
) -> TabularResult:
    """The plan that `tm.auto()` chose is used as recorded; any other learner is that of the stored code."""
    learner = plan_from(settled.parameters) if isinstance(model.learn, Auto) else model.learn
    return train_tabular(
        examples,
        learner,
        model=model.name,
        folder=folder,
        split=_rule(settled.at),
        slices=model.slices,
        curve=False,
        form=_form(family),
    )
