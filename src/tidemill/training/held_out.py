"""The older protocol, for comparison with figures that were measured so: the last event of each user is held out.

It leaks the future: a model learns from what others did after the moment that it is asked about, and a figure comes out
higher than life will be wherever tastes move ("Time to Split", arXiv 2507.16289). Stand it beside a split by time,
never in its place.
"""

from __future__ import annotations

import numpy as np

from tidemill.core.errors import TooLittleData
from tidemill.models import Interactions
from tidemill.training.time_split import TimeSplit


def leave_one_out(interactions: Interactions) -> TimeSplit:
    """Train on all but the last event of each user with two or more; `at` is the first moment after all training.

    Raises `TooLittleData` where no user has two events.
    """
    last = interactions.starts[1:] - 1  # (n_users)
    held = last[np.diff(interactions.starts) > 1]
    if not len(held):
        raise TooLittleData("leave-one-out needs users with two events or more", tip="use the split by time")
    keep = np.ones(len(interactions), np.bool_)
    keep[held] = False
    train = interactions.where(keep)
    return TimeSplit(int(train.time.max()) + 1, train, interactions.where(~keep), kind="leave-one-out")
