"""An assessment as the metrics of a run, with the losses per row for a paired comparison."""

from __future__ import annotations

import hashlib

import numpy as np

from tidemill.core.records.assessment import VERSUS_CHAMPION, Assessment
from tidemill.core.records.quality import FEWEST_USERS, Metric
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.runs.per_unit_metrics import PerUnitMetrics
from tidemill.training.tabular.assess.losses import row_losses
from tidemill.training.tabular.assess.model_answers import answers_of
from tidemill.training.tabular.rows.dataset_fingerprint import row_names


def tabular_metrics(assessment: Assessment) -> dict[str, Metric]:
    """`log_loss`, `auc`, `difference log_loss`, …, the main one first; empty for fewer than ten test rows."""
    if assessment.n_test < FEWEST_USERS:
        return {}
    found = {score.name: score.model for score in assessment.scores}
    found |= {f"difference {score.name}": score.difference for score in assessment.scores}
    if assessment.calibration_error is not None:
        found["calibration_error"] = assessment.calibration_error
    return found | {f"{VERSUS_CHAMPION[0]}{score.name}": score.difference for score in assessment.beside_champion}


def tabular_figures(model: TabularModel, test: Examples) -> PerUnitMetrics:
    """The losses of each test row, ordered by row key; the keys cannot be recovered from them.

    Two runs tested on the same rows and targets have the same hash in `users` and can be paired; rows of one group
    count as separate rows.
    """
    names = row_names(test)
    order = np.argsort(names, kind="stable")
    mark = hashlib.sha256(b"tabular rows\n" + names[order].astype("<u8").tobytes())
    mark.update(test.target[order].astype("<f8").tobytes())
    losses = row_losses(answers_of(model, test))
    return PerUnitMetrics(mark.hexdigest(), {name: rows[order] for name, rows in losses.items()})
