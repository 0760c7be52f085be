"""The figures of each measured user, kept so that a later run can be compared with this one in pairs.

A folder of one array and its names: no id is in it, users stand in the order in which they were measured. Two folders
can be paired where `users` is the same: a hash over who was measured, on what, from which split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.errors import FormatTooNew
from tidemill.training.evaluation import Measurement

FORMAT = 1
_NAMES, _VALUES = "figures.json", "figures.npy"


@dataclass(frozen=True, eq=False)
class UserFigures:
    """Figures of each user: `users` says whose, `values` are figure (`hit_rate@10[all]`) -> float64 (n_users)."""

    users: str
    values: dict[str, npt.NDArray[np.float64]]

    @property
    def n_users(self) -> int:
        """How many users were measured."""
        return len(next(iter(self.values.values()), ()))


class _Names(msgspec.Struct):
    format: int
    users: str
    measures: list[str]


def write_figures(measurement: Measurement, folder: Path) -> None:
    """Write a measurement's figures into the empty `folder`: float32 (n_measures, n_users) and the names."""
    values = np.stack(list(measurement.per_user.values())).astype(np.float32)
    np.save(folder / _VALUES, values, allow_pickle=False)
    names = _Names(FORMAT, measurement.users, [f"{measure}[all]" for measure in measurement.per_user])
    (folder / _NAMES).write_bytes(msgspec.json.encode(names))


def read_figures(folder: Path) -> UserFigures:
    """What `write_figures` wrote."""
    names = msgspec.json.decode((folder / _NAMES).read_bytes(), type=_Names)
    if names.format > FORMAT:
        raise FormatTooNew(f"the figures in {folder} have format {names.format}; this tidemill reads {FORMAT}")
    values = np.load(folder / _VALUES, allow_pickle=False)
    return UserFigures(names.users, {name: values[i].astype(np.float64) for i, name in enumerate(names.measures)})
