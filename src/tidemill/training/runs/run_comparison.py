"""Comparison of runs: their differences, their metrics, and paired tests on the same users."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import UsageError
from tidemill.core.flatten import flatten
from tidemill.core.record_format import Record
from tidemill.core.records.quality import FEWEST_USERS, Metric
from tidemill.core.records.runs import Run
from tidemill.training.runs.per_unit_metrics import PerUnitMetrics
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.statistics.permutation_test import ALPHA, holm, sign_flips
from tidemill.training.statistics.training_noise import with_training_noise

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class SettingDifference(Record, frozen=True):
    """One difference between runs: its name, and its value in each run (`None`: no value)."""

    what: str
    values: tuple[Any, ...]


class MetricRow(Record, frozen=True):
    """One metric in each run; `None` if a run does not have it."""

    name: str
    values: tuple[Metric | None, ...]


class PairedDifference(Record, frozen=True):
    """One metric of two runs on the same users, `other` minus `one`."""

    one: str
    other: str
    #: With its group of users: `hit_rate@10[warm]`.
    measure: str
    n_users: int
    #: The mean difference with its 95% interval over users, by a paired bootstrap; of models that were also fitted with
    #: other seeds, over these too.
    difference: Metric
    #: p of a paired sign-flip test of these two fits, and p after Holm's correction for all metrics, groups and pairs.
    p: float
    p_holm: float

    @property
    def sure(self) -> bool:
        """Whether it is significant: the interval excludes zero, and p after Holm is below 5%."""
        return self.p_holm < ALPHA and not self.difference.low <= 0 <= self.difference.high


class RunComparison(Record, frozen=True):
    """Runs side by side; the others are compared with the first one."""

    runs: tuple[str, ...]
    #: Parameters, data, learner, code, environment, kind and state, if they differ.
    differs: tuple[SettingDifference, ...]
    #: Number of parameters and data versions that are the same in all.
    same: int
    cost: tuple[SettingDifference, ...]
    metrics: tuple[MetricRow, ...]
    paired: tuple[PairedDifference, ...]
    #: Sentences about runs that could not be paired, with the reason.
    unpaired: tuple[str, ...]


def compare(runs: Sequence[Run], figures: Mapping[str, PerUnitMetrics | str] = {}) -> RunComparison:
    """Compare two or more runs, each with the first.

    `figures` are the metrics per user by run name, or a sentence why there are none. Raises
    `UsageError` for fewer than two runs, or for a run that is named twice.
    """
    names = [run.name for run in runs]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise UsageError(f"{', '.join(names) or 'nothing'} cannot be compared", tip="tidemill compare for_you 1 2")
    rows = [_facts(run) for run in runs]
    whats = list(dict.fromkeys(what for row in rows for what in row))
    found = [SettingDifference(what=what, values=tuple(row.get(what) for row in rows)) for what in whats]
    differs = tuple(row for row in found if any(value != row.values[0] for value in row.values[1:]))
    measured = dict.fromkeys(name for run in runs for name in run.metrics)
    paired, unpaired = _pairs(runs, figures)
    return RunComparison(
        runs=tuple(names),
        differs=differs,
        same=len(found) - len(differs),
        cost=tuple(_cost(runs)),
        metrics=tuple(MetricRow(name=name, values=tuple(run.metrics.get(name) for run in runs)) for name in measured),
        paired=paired,
        unpaired=unpaired,
    )


def _facts(run: Run) -> dict[str, Any]:
    """Everything that may explain why two runs have different metrics, by path."""
    return {
        "model": run.model,
        "kind": run.kind,
        "state": run.state,
        "says": run.says,
        "learner": run.learner,
        **flatten(run.parameters, "parameters."),
        **flatten(run.data, "data."),
        "as of": run.as_of,
        "code": run.code[:12],
        "commit": _commit(run),
        "environment": run.environment[:12],
        **({"notes": " ".join(run.notes)} if run.notes else {}),
    }


def _commit(run: Run) -> str | None:
    if run.commit is None:
        return None
    return f"{run.commit[:12]} with local changes" if run.changed else run.commit[:12]


def _cost(runs: Sequence[Run]) -> list[SettingDifference]:
    parts: dict[str, Callable[[Run], float | None]] = {
        "wall_s": lambda run: run.cost.wall_s if run.cost else None,
        "cpu_s": lambda run: run.cost.cpu_s if run.cost else None,
        "peak_bytes": lambda run: run.cost.peak_bytes if run.cost else None,
        "trials": lambda run: run.trials,
    }
    rows = [SettingDifference(what=what, values=tuple(part(run) for run in runs)) for what, part in parts.items()]
    return [row for row in rows if any(row.values)]


def _pairs(
    runs: Sequence[Run], figures: Mapping[str, PerUnitMetrics | str]
) -> tuple[tuple[PairedDifference, ...], tuple[str, ...]]:
    groups: dict[tuple[str, str], _Group] = {}
    unpaired = []
    n_users = 0
    for other in runs[1:]:
        one, two = (figures.get(run.name, f"{run.name} has no metrics per user") for run in (runs[0], other))
        why = _apart(runs[0], other, one, two)
        if why or isinstance(one, str) or isinstance(two, str):
            unpaired.append(f"{runs[0].name} and {other.name} cannot be paired: {why}")
            continue
        n_users = one.n_users
        groups |= {(other.name, name): group for name, group in _groups(one, two)}
    return tuple(_tested(runs[0].name, groups, n_users)) if groups else (), tuple(unpaired)


@dataclass(frozen=True)
class _Group:
    """One group of users: the difference of each user, one column per metric."""

    measures: tuple[str, ...]
    users: I64
    values: F64
    #: The fits of both models (see `PerUnitMetrics.fits`).
    fits: tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[float]]]


def _groups(one: PerUnitMetrics, two: PerUnitMetrics) -> Iterator[tuple[str, _Group]]:
    """The groups that have enough users and are the same in both."""
    measures = tuple(measure for measure in one.values if measure in two.values)
    for name, users in one.shared(two).items():
        if len(users) >= FEWEST_USERS and measures:
            columns = [(two.values[measure] - one.values[measure])[users] for measure in measures]
            yield name, _Group(measures, users, np.column_stack(columns), (one.fits, two.fits))


def _tested(one: str, groups: Mapping[tuple[str, str], _Group], n_users: int) -> Iterator[PairedDifference]:
    """Each difference with its interval and p; users are resampled, and signs flipped, once for all of them."""
    resamples = Bootstrap(n_users)
    flipped = sign_flips({name: (found.users, found.values) for name, found in groups.items()}, n_users)
    p = {
        (*name, measure): float(flipped[name][column])
        for name, found in groups.items()
        for column, measure in enumerate(found.measures)
    }
    stepped = holm(p)
    for (other, users), found in groups.items():
        values, draws = found.values, resamples.means(found.values, found.users)
        for column, measure in enumerate(found.measures):
            name = (other, users, measure)
            fits = [np.array(each.get(measure, ())) for each in found.fits]
            difference = with_training_noise(interval(values[:, column].mean(), draws[:, column]), *fits)
            yield PairedDifference(
                one=one, other=other, measure=f"{measure}[{users}]", n_users=len(values),
                difference=difference, p=p[name], p_holm=stepped[name],
            )  # fmt: skip


def _apart(first: Run, second: Run, one: PerUnitMetrics | str, two: PerUnitMetrics | str) -> str:
    """The reason why two runs cannot be paired; empty if they can."""
    missing = [figures for figures in (one, two) if isinstance(figures, str)]
    if missing or isinstance(one, str) or isinstance(two, str):
        return "; ".join(missing)
    if one.users == two.users:
        few = f"only {one.n_users} users were evaluated, and metrics of so few could identify a person"
        return few if one.n_users < FEWEST_USERS else ""
    other_data = [table for table in {**first.data, **second.data} if first.data.get(table) != second.data.get(table)]
    because = f", because {', '.join(other_data)} had different versions" if other_data else ""
    return (
        f"they were evaluated on different users, targets or days ({one.n_users:,} and {two.n_users:,} users){because}"
    )
