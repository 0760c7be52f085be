"""Losses per row for the main metric."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tidemill.core.records.quality import Metric
from tidemill.core.records.signature import Task
from tidemill.models.tabular.link_functions import MOST

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Measure = Literal["log_loss", "mae", "rmse", "poisson_deviance"]
#: The default main metric.
USUAL: dict[Task, Measure] = {
    "binary": "log_loss",
    "classes": "log_loss",
    "number": "mae",
    "count": "poisson_deviance",
}
LINKS: dict[Task, Literal["identity", "sigmoid", "softmax", "exp"]] = {
    "binary": "sigmoid",
    "classes": "softmax",
    "number": "identity",
    "count": "exp",
}


def row_losses(margins: F64, target: F64, task: Task, measure: Measure) -> F64:
    """float64 (n) of margins (n, k): log loss, absolute or squared error, Poisson deviance."""
    if task == "classes":
        top = margins.max(axis=1)
        total = top + np.log(np.exp(margins - top[:, None]).sum(axis=1))
        return np.asarray(total - margins[np.arange(len(margins)), target.astype(np.int64)])
    margin = margins[:, 0]
    if task == "binary":
        return np.asarray(np.logaddexp(0.0, margin) - target * margin)
    if task == "number":
        return np.abs(margin - target) if measure == "mae" else np.square(margin - target)
    log_target = np.log(np.where(target > 0, target, 1.0))
    return np.asarray(2 * (target * (log_target - margin) - target + np.exp(np.minimum(margin, MOST))))


def shown(mean: Metric, measure: Measure) -> Metric:
    """The mean loss as it is usually reported: the root for `rmse`."""
    if measure != "rmse":
        return mean
    return Metric(value=mean.value**0.5, low=max(mean.low, 0.0) ** 0.5, high=max(mean.high, 0.0) ** 0.5)
