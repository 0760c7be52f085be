"""Metrics per unit (user or row), stored so that a later run can be compared with this one in pairs.

A folder with two arrays and their names. It contains no ids; users are in evaluation order. Two folders can be paired
if `users` is equal: a hash over the evaluated users, targets and split.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.training.recommender.evaluation import Measurement

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NAMES, _VALUES, _GROUPS = "figures.json", "figures.npy", "groups.npy"
#: The group of all users; its name is appended to each metric in the file.
ALL = "all"


@dataclass(frozen=True, eq=False)
class PerUnitMetrics:
    """Metrics of each user: `users` is a hash of them, `values` maps metric (`hit_rate@10`) to float64 (n_users)."""

    users: str
    values: dict[str, F64]
    #: Group of users (`warm`, `cold`) -> bool (n_users); empty if only all users were stored.
    groups: dict[str, Mask] = field(default_factory=dict)
    #: Metric -> its mean after each of several fits with other seeds; empty if there was one.
    fits: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def from_measurement(cls, measurement: Measurement) -> PerUnitMetrics:
        """The metrics of a recommender's measurement."""
        return cls(measurement.users, dict(measurement.per_user), dict(measurement.groups))

    @property
    def n_users(self) -> int:
        """Number of evaluated users."""
        return len(next(iter(self.values.values()), ()))

    def shared(self, other: PerUnitMetrics) -> dict[str, I64]:
        """The groups with the same users in both, `all` first, each with its indices, int64 (n_shared)."""
        same = {name: mask for name, mask in self.groups.items() if np.array_equal(mask, other.groups.get(name, ()))}
        return {ALL: np.arange(self.n_users)} | {name: np.flatnonzero(mask) for name, mask in same.items()}


class FigureNames(VersionedRecord, frozen=True):
    """The names of the rows of the arrays in the same folder."""

    KIND: ClassVar[str] = "per-user figures"
    REQUIRED: ClassVar[tuple[str, ...]] = ("users", "measures")

    users: str = ""
    measures: list[str] = msgspec.field(default_factory=list)
    #: Empty in folders written before groups existed; these have no second array.
    groups: list[str] = msgspec.field(default_factory=list)
    fits: dict[str, tuple[float, ...]] = msgspec.field(default_factory=dict)


def write_unit_metrics(figures: PerUnitMetrics, folder: Path) -> None:
    """Write metrics into the empty `folder`.

    float32 (n_measures, n_users), bool (n_groups, n_users) where there are groups, and the names of both.
    """
    values = np.stack(list(figures.values.values())).astype(np.float32)
    np.save(folder / _VALUES, values, allow_pickle=False)
    if figures.groups:
        np.save(folder / _GROUPS, np.stack(list(figures.groups.values())), allow_pickle=False)
    measures = [f"{measure}[{ALL}]" for measure in figures.values]
    names = FigureNames(users=figures.users, measures=measures, groups=list(figures.groups), fits=figures.fits)
    (folder / _NAMES).write_bytes(msgspec.json.encode(names))


def read_unit_metrics(folder: Path) -> PerUnitMetrics:
    """The metrics that `write_unit_metrics` wrote."""
    names = decode_record((folder / _NAMES).read_bytes(), FigureNames, str(folder))
    values = np.load(folder / _VALUES, allow_pickle=False).astype(np.float64)
    measures = [name.removesuffix(f"[{ALL}]") for name in names.measures]
    masks = np.load(folder / _GROUPS, allow_pickle=False) if names.groups else ()
    return PerUnitMetrics(
        names.users, dict(zip(measures, values, strict=True)), dict(zip(names.groups, masks, strict=True)), names.fits
    )
