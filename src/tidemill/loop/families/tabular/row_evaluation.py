"""Evaluation of a release that predicts from a row, on rows that arrived after its training, without retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tidemill.core.clock import from_micros
from tidemill.core.errors import NoSuchRelease, SettingRefused, TooLittleData, UsageError
from tidemill.core.progress import Progress
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.dataset import Dataset
from tidemill.core.records.release import Release
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.datasets import dataset_of, rebuild_dataset, tables_read_by
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.families.model_family import EvaluationOptions, EvaluationReport, named_release
from tidemill.loop.families.tabular.row_family import RowFamily
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.assess.assess import TestSetting, assess
from tidemill.training.tabular.assess.losses import RowAnswers
from tidemill.training.tabular.assess.model_answers import answers_of, tabular_figures
from tidemill.training.tabular.assess.periods import by_month, of_months
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import FEWEST_ROWS


def prepare_evaluation(
    family: RowFamily, stores: Stores, graph: ProjectGraph, name: str, view: LakeSnapshot, options: EvaluationOptions
) -> RowEvaluation:
    """The evaluation of a release, ready to run.

    Raises `UsageError` for an option of recommenders, and `TooLittleData` if too few rows have arrived since.
    """
    model = name.partition("@")[0]
    given = {
        "--ranked": options.ranked is not None,
        "--leave-one-out": options.leave_one_out,
        "--history or --target": options.protocol is not None,
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise UsageError(
            f"{model} is a model of the family {family.name}, but {wrong[0]} is for recommenders",
            tip=f"tidemill evaluate {model}",
        )
    release = named_release(stores, name)
    if release is None:
        raise NoSuchRelease(f"{model} has no release to evaluate", tip=f"tidemill train {model}")
    dataset = dataset_of(stores, release)
    if dataset is None:
        raise TooLittleData(
            f"the training data of {release.name} are unknown, so no row is known to be unseen",
            tip="an imported model is evaluated on its golden rows at the import",
        )
    learned_from = rebuild_dataset(stores, graph, dataset)
    rows = _unseen(build_examples(graph, view, graph.askings[model]), learned_from, release, options.at)
    return RowEvaluation(family, stores, graph, view, options, release, dataset, learned_from, rows)


@dataclass(frozen=True)
class RowEvaluation:
    """See `EvaluationJob`."""

    family: RowFamily
    stores: Stores
    graph: ProjectGraph
    view: LakeSnapshot
    options: EvaluationOptions
    release: Release
    dataset: Dataset
    learned_from: Examples
    rows: Examples

    @property
    def what(self) -> str:
        return self.release.name

    @property
    def learner(self) -> str:
        return self.release.card.learner

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.release.card.parameters

    @property
    def data(self) -> dict[str, int]:
        asking = self.graph.askings[self.release.model]
        return {table: self.view.versions[table] for table in tables_read_by(self.graph, asking)}

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def measure(self, progress: Progress) -> EvaluationReport:
        rows, declared = self.rows, self.graph.askings[self.release.model].model
        opened = self.family.open(self.stores.releases.bundle(self.release.bundle))
        naive = naive_plan(rows.task)
        baseline = naive.fit(self.learned_from)
        since = "" if self.options.at is None else f", from {from_micros(self.options.at).date()} on"
        trained = f"{self.release.name} was trained on dataset {self.dataset.name}"
        protocol = f"{len(rows):,} rows that arrived after {trained}{since}"
        found = assess(
            opened,
            rows,
            baseline=(naive.name, baseline),
            setting=TestSetting(protocol, None, len(self.learned_from)),
            slices=(*declared.slices, *([self.options.by] if self.options.by else [])),
            fairness=declared.fairness,
        )
        found = self._beside_card(found, answers_of(opened, rows), answers_of(baseline, rows))
        said = [one for one in (found.periods_say, found.worst, found.gaps_say) if one]
        return EvaluationReport(
            notes=(protocol, *said, *found.warnings),
            metrics=found.metrics(),
            figures=tabular_figures(opened, rows),
            assessment=found,
        )

    def _beside_card(self, found: Assessment, told: RowAnswers, naive: RowAnswers) -> Assessment:
        """The assessment with its months, compared with the metric on the card."""
        card = self.release.card.assessment
        known = card is not None and card.scores and card.measure == found.measure
        expected = card.main.model if card is not None and known else None
        rows = self.rows
        months = () if rows.time is None else by_month(told, naive, rows.time, rows.group, expected)
        says = of_months(months, told, expected, self.release.name)
        worse = [one.period for one in months if one.versus_card == "worse"]
        warning = f"{found.measure} is significantly worse than on the card in {', '.join(worse)}"
        return msgspec.structs.replace(
            found, expected=expected, periods=months, periods_say=says,
            warnings=(*found.warnings, *([warning] if worse else [])),
        )  # fmt: skip


def _unseen(rows: Examples, learned_from: Examples, release: Release, at: int | None) -> Examples:
    """The rows that the release was not trained on; with `at`, those from then on."""
    unseen = ~np.isin(row_names(rows), row_names(learned_from))
    if at is not None:
        if rows.time is None:
            raise SettingRefused(f"the rows of {release.model} have no times, so none is later than another")
        unseen &= rows.time >= at
    new = np.flatnonzero(unseen)
    if len(new) < FEWEST_ROWS:
        raise TooLittleData(
            f"{len(new)} rows arrived since {release.name} was trained; at least {FEWEST_ROWS} are needed",
            tip=f"`tidemill train {release.model}` evaluates on held-out rows",
        )
    return rows.take(new)
