"""The selection rule of every search: the simplest candidate within noise.

Candidates come in order of complexity. One replaces the selected one only if the 95% interval of their paired
difference, over the same held-out rows or users, lies above zero. Settings may have been chosen on these rows too, so
a small win may be luck: the test rows, which are not used here, measure its real value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import Metric
from tidemill.models.learners.auto import Prefer
from tidemill.training.statistics.ratio_estimate import mean_interval

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def replaces(
    candidate: F64, selected: F64, blocks: I64 | None = None, prefer: Prefer = "simple"
) -> tuple[bool, Metric]:
    """Whether the more complex `candidate` replaces the `selected` one, and the mean of its gain with its interval.

    With `prefer="best"` it does if its mean is higher.

    Both are scores, float64 (n), larger if better; rows of one block, int64 (n), count as one observation.

    >>> simple = np.array([0.1, 0.5, 0.3, 0.4])
    >>> replaces(simple + [0.1, 0.2, 0.1, 0.2], simple)[0], replaces(simple + [0.9, 0.0, 0.0, 0.0], simple)[0]
    (True, False)
    """
    gain = mean_interval(candidate - selected, blocks)
    return (gain.value if prefer == "best" else gain.low) > 0, gain


def simplicity_cost(selected: str, best: str, measure: str, lost: Metric, of: float) -> str:
    """What the simplest candidate costs, as a sentence: `lost` is the gain of the best, `of` the selected one's metric.

    >>> lost = Metric(value=0.002, low=-0.001, high=0.005)
    >>> print(simplicity_cost("additive", "stack", "log_loss", lost, 0.4))
    additive is the simplest within noise. The best candidate, stack, is better by 0.002 (-0.001 to 0.005) in log loss, 0.5%: tm.auto(prefer="best") selects it.
    """  # noqa: E501 - one line of output
    share = f", {lost.value / abs(of):.1%}" if of else ""
    return (
        f"{selected} is the simplest within noise. The best candidate, {best}, is better by {lost.value:.3g} "
        f"({lost.low:.3g} to {lost.high:.3g}) in {measure.replace('_', ' ')}{share}: "
        'tm.auto(prefer="best") selects it.'
    )
