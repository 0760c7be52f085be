"""Runs beside each other: only what differs, their figures, and, on the same users, whether a difference is chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tidemill.core.errors import UsageError
from tidemill.core.records import Metric, Record, Run
from tidemill.training.intervals import intervals
from tidemill.training.significance import holm, sign_flip
from tidemill.training.user_figures import UserFigures


class Difference(Record, frozen=True):
    """One thing in which the runs differ: what it is, and its value in each run (`None`: it has none)."""

    what: str
    values: tuple[Any, ...]


class FigureRow(Record, frozen=True):
    """One figure in each run; `None` where a run has none."""

    name: str
    values: tuple[Metric | None, ...]


class Paired(Record, frozen=True):
    """One measure of two runs on the same users, `other` minus `one`."""

    one: str
    other: str
    measure: str
    n_users: int
    #: The mean difference with its 95% interval over users, by a paired bootstrap.
    difference: Metric
    #: p of a paired sign-flip test, and the same after Holm's correction for all measures and pairs here.
    p: float
    p_holm: float


class Comparison(Record, frozen=True):
    """Runs beside each other; the first is the one that the others are held against."""

    runs: tuple[str, ...]
    #: Parameters, data, learner, code, environment, kind and state, as far as they differ.
    differs: tuple[Difference, ...]
    #: How many parameters and data versions are the same in all.
    same: int
    cost: tuple[Difference, ...]
    metrics: tuple[FigureRow, ...]
    paired: tuple[Paired, ...]
    #: Sentences that say which runs could not be paired, and why.
    unpaired: tuple[str, ...]


def compare(runs: Sequence[Run], figures: Mapping[str, UserFigures | str] = {}) -> Comparison:
    """Compare two runs or more, each with the first.

    `figures` are those of each user by the run's name, or a sentence that says why there are none. Raises
    `UsageError` for fewer than two runs, or for one that is named twice.
    """
    names = [run.name for run in runs]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise UsageError(f"{', '.join(names) or 'nothing'} cannot be compared", tip="tidemill compare for_you 1 2")
    rows = [_facts(run) for run in runs]
    whats = list(dict.fromkeys(what for row in rows for what in row))
    found = [Difference(what=what, values=tuple(row.get(what) for row in rows)) for what in whats]
    differs = tuple(row for row in found if any(value != row.values[0] for value in row.values[1:]))
    measured = dict.fromkeys(name for run in runs for name in run.metrics)
    paired, unpaired = _pairs(runs, figures)
    return Comparison(
        runs=tuple(names),
        differs=differs,
        same=len(found) - len(differs),
        cost=tuple(_cost(runs)),
        metrics=tuple(FigureRow(name=name, values=tuple(run.metrics.get(name) for run in runs)) for name in measured),
        paired=paired,
        unpaired=unpaired,
    )


def _facts(run: Run) -> dict[str, Any]:
    """Everything that may explain why two runs came to other figures, by its path."""
    return {
        "model": run.model,
        "kind": run.kind,
        "state": run.state,
        "says": run.says,
        "learner": run.learner,
        **dict(_flat("parameters", run.parameters)),
        **dict(_flat("data", run.data)),
        "as of": run.as_of,
        "code": run.code[:12],
        "commit": _commit(run),
        "environment": run.environment[:12],
        **({"notes": " ".join(run.notes)} if run.notes else {}),
    }


def _commit(run: Run) -> str | None:
    if run.commit is None:
        return None
    return f"{run.commit[:12]} and files that differ from it" if run.changed else run.commit[:12]


def _flat(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [row for name, found in value.items() for row in _flat(f"{path}.{name}", found)]
    return [] if value == {} else [(path, value)]


def _cost(runs: Sequence[Run]) -> list[Difference]:
    parts: dict[str, Callable[[Run], float | None]] = {
        "wall_s": lambda run: run.cost.wall_s if run.cost else None,
        "cpu_s": lambda run: run.cost.cpu_s if run.cost else None,
        "peak_bytes": lambda run: run.cost.peak_bytes if run.cost else None,
        "trials": lambda run: run.trials,
    }
    rows = [Difference(what=what, values=tuple(part(run) for run in runs)) for what, part in parts.items()]
    return [row for row in rows if any(row.values)]


def _pairs(runs: Sequence[Run], figures: Mapping[str, UserFigures | str]) -> tuple[tuple[Paired, ...], tuple[str, ...]]:
    differences: dict[tuple[str, str, str], np.ndarray[Any, np.dtype[np.float64]]] = {}
    unpaired = []
    for other in runs[1:]:
        one, two = (figures.get(run.name, f"{run.name} kept no figures of users") for run in (runs[0], other))
        why = _apart(runs[0], other, one, two)
        if why or isinstance(one, str) or isinstance(two, str):
            unpaired.append(f"{runs[0].name} and {other.name} cannot be paired: {why}")
            continue
        for measure, values in one.values.items():
            if measure in two.values:
                differences[runs[0].name, other.name, measure] = two.values[measure] - values
    p = {name: sign_flip(difference) for name, difference in differences.items()}
    stepped = holm(p)
    paired = [
        Paired(
            one=name[0], other=name[1], measure=name[2], n_users=len(difference),
            difference=intervals({"": difference})[""], p=p[name], p_holm=stepped[name],
        )
        for name, difference in differences.items()
    ]  # fmt: skip
    return tuple(paired), tuple(unpaired)


def _apart(first: Run, second: Run, one: UserFigures | str, two: UserFigures | str) -> str:
    """Why two runs cannot be paired; empty where they can."""
    missing = [figures for figures in (one, two) if isinstance(figures, str)]
    if missing or isinstance(one, str) or isinstance(two, str):
        return "; ".join(missing)
    if one.users == two.users:
        return ""
    other_data = [table for table in {**first.data, **second.data} if first.data.get(table) != second.data.get(table)]
    because = f", because {', '.join(other_data)} had other versions" if other_data else ""
    return f"they were measured on other users, targets or days ({one.n_users:,} and {two.n_users:,} users){because}"
