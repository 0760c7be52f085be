"""Train/test splits: by time, by group, or at random by the hash of a row's key.

A split by time matches how a model is used, so it comes first. A split by hash is stable: adding a row moves no other
row to the other side, and the order of rows does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import SettingRefused, TooLittleData
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.rows.dataset_fingerprint import mixed, row_names

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: The fixed salt of the hash: the same row is on the same side in every project.
_SALT = 20_260
#: If the test share is off by more than this factor, groups are taken in the order of their hashes instead.
_OFF = 2.0
#: Minimum rows for a split, and minimum rows of a class in the test.
FEWEST_ROWS, FEWEST_OF_CLASS = 50, 2


@dataclass(frozen=True)
class SplitRule:
    """How to split: `auto` is by time if rows have times, else by group if there are groups, else at random."""

    by: Literal["auto", "time", "group", "random"] = "auto"
    #: Share of test rows.
    share: float = 0.2
    #: Rows from this time on are the test (microseconds), instead of the latest share.
    at: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingRefused(
                f"a test share of {self.share:g} is not between 0 and 1", tip="use a share such as 0.2"
            )


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of the training rows and of the test rows, int64, both ascending; and how they were split."""

    train: I64
    test: I64
    by: Literal["time", "group", "random"]
    #: First instant of the test (microseconds), if the split is by time.
    at: int | None
    #: The split in words.
    protocol: str
    warnings: tuple[str, ...] = ()


def split_examples(examples: Examples, rule: SplitRule | None = None) -> Split:
    """Training and test rows; raises `TooLittleData` if no valid test is possible.

    By time, every test row is later than every training row; rows at the boundary's instant are all test rows. By
    group, groups stay whole. Raises `SettingRefused` if rows lack what the rule needs.
    """
    rule = rule or SplitRule()
    by = _by(examples, rule)
    if len(examples) < FEWEST_ROWS:
        raise TooLittleData(f"{len(examples)} rows are too few to test on: at least {FEWEST_ROWS} are needed")
    test, at = {"time": _by_time, "group": _by_group, "random": _at_random}[by](examples, rule)
    split = Split(
        np.flatnonzero(~test), np.flatnonzero(test), by, at, _words(by, at, test), _both_sides(examples, test)
    )
    _check(examples, split)
    return split


def _by(examples: Examples, rule: SplitRule) -> Literal["time", "group", "random"]:
    if rule.by == "auto" and rule.at is None:
        if examples.time is not None and len(examples) and examples.time.min() < examples.time.max():
            return "time"
        return "random" if examples.group is None else "group"
    by = "time" if rule.by == "auto" else rule.by
    if by == "time" and examples.time is None:
        raise SettingRefused("a split by time was requested, but the rows have no times", tip="name the time column")
    if by == "group" and examples.group is None:
        raise SettingRefused("a split by group was requested, but the rows have no groups", tip="name the group")
    return by


def _by_time(examples: Examples, rule: SplitRule) -> tuple[Mask, int | None]:
    """The instant from which on the share of rows is closest to the requested one."""
    assert examples.time is not None
    if rule.at is not None:
        return examples.time >= rule.at, rule.at
    instants, n = np.unique(examples.time, return_counts=True)
    later = np.cumsum(n[::-1])[::-1] / len(examples)  # share of the rows from each instant on
    if len(instants) < 2:
        raise TooLittleData("all rows have the same time, so none is later than the others", tip="split at random")
    at = int(instants[1 + np.argmin(np.abs(later[1:] - rule.share))])
    return examples.time >= at, at


def _by_group(examples: Examples, rule: SplitRule) -> tuple[Mask, int | None]:
    """Groups with a small hash; if groups are few, those with the smallest hashes, until the share is reached."""
    assert examples.group is not None
    groups, code, n = np.unique(examples.group, return_inverse=True, return_counts=True)
    if len(groups) < 2:
        raise TooLittleData("all rows belong to one group, so no group can be held out", tip="split at random")
    drawn = uniform(groups.astype(np.int64).view(np.uint64))
    taken = drawn < rule.share
    share = n[taken].sum() / len(examples)
    if not rule.share / _OFF <= share <= rule.share * _OFF:
        order = np.argsort(drawn, kind="stable")[: len(groups) - 1]
        until = int(np.argmin(np.abs(np.cumsum(n[order]) / len(examples) - rule.share)))
        taken = np.isin(np.arange(len(groups)), order[: until + 1])
    return taken[code], None


def _at_random(examples: Examples, rule: SplitRule) -> tuple[Mask, int | None]:
    """Rows with a small hash; a class missing on one side gets its row with the smallest or largest hash."""
    drawn = uniform(row_names(examples))
    test = drawn < rule.share
    if examples.task in ("binary", "classes"):
        for kind in np.unique(examples.target):
            of = np.flatnonzero(examples.target == kind)
            if len(of) > 1 and not test[of].any():
                test[of[np.argmin(drawn[of])]] = True
            if len(of) > 1 and test[of].all():
                test[of[np.argmax(drawn[of])]] = False
    return test, None


def uniform(names: npt.NDArray[np.uint64], *, salt: int = _SALT) -> F64:
    """A number from 0 to 1 for each key, float64 (n); deterministic."""
    return (mixed(mixed(names, salt), salt) >> np.uint64(11)).astype(np.float64) / 2**53


def _check(examples: Examples, split: Split) -> None:
    """Check that the test is large enough; an overlapping split by time would be a bug of this module."""
    if not len(split.train) or not len(split.test):
        raise TooLittleData(
            f"a split needs rows on both sides: {len(split.train):,} to train on, {len(split.test):,} to test"
        )
    if split.by == "time":
        assert examples.time is not None
        assert examples.time[split.train].max() < examples.time[split.test].min()
    if examples.task in ("binary", "classes"):
        for side, places in (("train on", split.train), ("test on", split.test)):
            n = np.sort(np.unique(examples.target[places], return_counts=True)[1])
            if len(n) < 2 or n[-2] < FEWEST_OF_CLASS:
                raise TooLittleData(f"the {len(places):,} rows to {side} are of a single class, or nearly so")


def _words(by: str, at: int | None, test: Mask) -> str:
    n = f"{int(test.sum()):,} of {len(test):,} rows ({test.mean():.0%})"
    if at is not None:
        day = datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"split by time: the latest {n}, from {day} on, are the test; all earlier rows are for training"
    drawn = "split by group" if by == "group" else "random split"
    return f"{drawn}, by a fixed hash of the {'group' if by == 'group' else 'row'} keys: {n} are the test"


def _both_sides(examples: Examples, test: Mask) -> tuple[str, ...]:
    """Groups with rows on both sides, if the split is not by group."""
    if examples.group is None:
        return ()
    known = np.isin(examples.group[test], examples.group[~test])
    groups = np.unique(examples.group[test][known])
    if not len(groups):
        return ()
    n_groups = len(np.unique(examples.group[test]))
    return (
        f"{len(groups):,} of the {n_groups:,} groups in the test ({known.mean():.0%} of its rows) also have training "
        "rows: the metrics are for known groups. For new groups, split by group and compare",
    )
