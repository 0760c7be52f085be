"""Run page as data: parameters, metrics over the steps, trials and artifacts of one run."""

from __future__ import annotations

import math
from typing import Any

from tidemill.console.drawings.curve import CurvePosition, RunCurve, curve, curves
from tidemill.console.drawings.parallel_coordinates import varying
from tidemill.console.formatting import counted, lower, measure, parameter, through
from tidemill.console.pages.runs_page import RunRow, all_runs, row
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.key_metric import clear_best, key_figure, less_is_better, rank, users_of
from tidemill.console.state.run_filter import settings
from tidemill.console.state.run_names import key_of, release_of, run_of
from tidemill.core.clock import to_micros
from tidemill.core.errors import LedgerError, NoSuchRelease, nearest
from tidemill.core.record_format import Record
from tidemill.core.records.quality import Metric
from tidemill.core.records.runs import Run, Trial
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ModelProjection

_BESIDE = "difference "
_SAID = {
    "train": "Training",
    "search": "Hyperparameter search",
    "auto": "AutoML",
    "refresh": "Refresh with new data",
    "evaluate": "Evaluation",
    "notebook": "Notebook",
}


class RunFigure(Record, frozen=True):
    """One final metric of a run, and its difference from popularity if there is one."""

    name: str
    metric: Metric
    difference: Metric | None
    less: bool
    #: Whether it is between -1 and 1, and can be drawn on the shared axis.
    on_axis: bool


class RunFigures(Record, frozen=True):
    """The metrics of one group of users; the name is empty for metrics without a group."""

    users: str
    figures: tuple[RunFigure, ...]


class TrialRow(Record, frozen=True):
    """One trial in the table, with the varying settings as text."""

    number: int
    state: str
    value: float | None
    best: bool
    settings: tuple[str, ...]
    steps: tuple[float, ...]
    cpu_s: float
    wall_s: float
    says: str


class RunPage(Record, frozen=True):
    """All data of the page of one run."""

    mill: str
    now: int
    models: tuple[str, ...]
    run: Run
    row: RunRow
    headline: str
    lead: str
    #: By users: those with history first, then all, then single groups.
    figures: tuple[RunFigures, ...]
    parameters: dict[str, str]
    #: Metrics that changed over the steps, and constant ones: name -> value.
    curves: tuple[RunCurve, ...]
    noted: dict[str, float]
    #: The trials, best first; the settings that vary between them, and those that they share.
    varied: tuple[str, ...]
    shared: dict[str, str]
    trials: tuple[TrialRow, ...]
    #: Number of trials by result.
    ended: dict[str, int]
    #: The previous and next run of the same model, and the one that created the live release.
    before: str | None
    after: str | None
    live: str | None
    commands: tuple[ActionCommand, ...]


def run_page(
    stores: ConsoleStores, projection: LedgerProjection, model: str, number: int
) -> tuple[RunPage, tuple[Trial, ...]]:
    """The page of `model#number`, and its trials to draw. Raises `NoSuchRelease` with the nearest name."""
    projected = projection.catch_up()
    found, unread = all_runs(stores, model)
    if unread is not None:
        raise LedgerError(f"the ledger cannot be read: {unread}", tip="tidemill verify")
    run = next((one for one in found if one.number == number), None)
    if run is None:
        names = [one.name for one in found]
        there = nearest(f"{model}#{number}", names[:200]) if names else f"{model} has no runs"
        raise NoSuchRelease(f"there is no run {model}#{number}; {there}", tip="the Runs page lists them")
    known = projected.models.get(model) or ModelProjection(model)
    figure = key_figure(found)
    best = clear_best(found, figure)
    trials = tuple(sorted(stores.runs.trials(run.name), key=_order))
    varied = varying(trials)
    learned = known.learned_live
    live = run_of(learned, found) if learned else None
    logged = [one for one in curves(stores.runs.points(run.name)) if not _repeats_trials(trials, one.name)]
    moved = tuple(one for one in logged if one.n > 2 and one.lowest.value != one.highest.value)
    climb = best_so_far(trials)
    page = RunPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        models=(model,),
        run=run,
        row=row(run, figure, known, best),
        headline=_headline(run, figure),
        lead=_lead(run, trials),
        figures=_figures(run),
        parameters=settings(run),
        curves=(climb, *moved) if climb else moved,
        noted={one.name: one.last.value for one in logged if one not in moved},
        varied=tuple(varied),
        shared=_shared(trials, varied),
        trials=tuple(_trial(trial, run.best, varied) for trial in trials),
        ended={state: n for state in ("finished", "pruned", "failed", "late") if (n := _count(trials, state))},
        before=_neighbour(found, number, -1),
        after=_neighbour(found, number, 1),
        live=key_of(live) if live is not None and live is not run else None,
        commands=_commands(run, known, live),
    )
    return page, trials


def _repeats_trials(trials: tuple[Trial, ...], name: str) -> bool:
    """Whether a metric repeats data of the trials: a setting, their score, or their number."""
    if not trials:
        return False
    bare = name.rpartition(".")[2]
    return bare in ("score", "tried", "of") or any(bare in trial.parameters for trial in trials)


def best_so_far(trials: tuple[Trial, ...]) -> RunCurve | None:
    """The best score after each finished trial; `None` with fewer than two finished trials."""
    reached: list[CurvePosition] = []
    top = -math.inf
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state == "finished" and trial.value is not None and math.isfinite(trial.value):
            top = max(top, trial.value)
            reached.append(CurvePosition(step=trial.number, value=top))
    return curve("best so far, by trial", reached, shape="climb") if len(reached) > 1 else None


def _figures(run: Run) -> tuple[RunFigures, ...]:
    groups: dict[str, list[RunFigure]] = {}
    differences = {
        name.removeprefix(_BESIDE): metric for name, metric in run.metrics.items() if name.startswith(_BESIDE)
    }
    for name, metric in run.metrics.items():
        if name.startswith(_BESIDE) and name.removeprefix(_BESIDE) in run.metrics:
            continue
        on_axis = metric.low >= -1 and metric.high <= 1
        one = RunFigure(
            name=name, metric=metric, difference=differences.get(name), less=less_is_better(name), on_axis=on_axis
        )
        groups.setdefault(users_of(name), []).append(one)
    ordered = sorted(groups.items(), key=lambda group: rank(group[1][0].name))
    return tuple(RunFigures(users=users, figures=tuple(found)) for users, found in ordered)


def _headline(run: Run, figure: str) -> str:
    if run.state == "running":
        return f"{run.name} is running."
    if run.state == "failed":
        return f"{run.name} failed."
    if run.state == "stopped":
        return f"{run.name} was stopped."
    if figure in run.metrics:
        metric = run.metrics[figure]
        name = lower(measure(figure)).replace(", ", " of ")  # hit rate at 10 of warm users
        return f"{run.name}: {name} is {metric.value:.3f}."
    return f"{run.name} finished."


def _lead(run: Run, trials: tuple[Trial, ...]) -> str:
    parts = [f"{_SAID[run.kind]} with {run.learner}" if run.learner else _SAID[run.kind]]
    if run.as_of:
        parts.append(f"on data through {through(run.as_of)}")
    n = max(run.trials, len(trials))
    if n:
        parts.append(f"in {counted(n, 'trial')}")
    return ", ".join(parts) + "."


def _trial(trial: Trial, best: int | None, varied: list[str]) -> TrialRow:
    return TrialRow(
        number=trial.number,
        state=trial.state,
        value=trial.value,
        best=trial.number == best,
        settings=tuple(parameter(trial.parameters[name]) if name in trial.parameters else "" for name in varied),
        steps=trial.steps,
        cpu_s=trial.cpu_s,
        wall_s=trial.wall_s,
        says=trial.says,
    )


def _order(trial: Trial) -> tuple[bool, float, int]:
    """The best first, then trials without a score by number."""
    value = trial.value if trial.state == "finished" else None
    fit = value is not None and math.isfinite(value)
    return not fit, -(value or 0.0) if fit else 0.0, trial.number


def _shared(trials: tuple[Trial, ...], varied: list[str]) -> dict[str, str]:
    found: dict[str, Any] = {}
    for trial in trials:
        found |= trial.parameters
    return {name: parameter(value) for name, value in found.items() if name not in varied}


def _count(trials: tuple[Trial, ...], state: str) -> int:
    return sum(trial.state == state for trial in trials)


def _neighbour(runs: list[Run], number: int, way: int) -> str | None:
    """The previous (-1) or next (1) run of the same model."""
    beyond = [run for run in runs if (run.number - number) * way > 0]
    return key_of(min(beyond, key=lambda run: abs(run.number - number))) if beyond else None


def _commands(run: Run, known: ModelProjection, live: Run | None) -> tuple[ActionCommand, ...]:
    commands: list[ActionCommand] = []
    if run.kind == "refresh" and run.state == "finished":
        return ()  # it has no metrics to compare, and went live by itself
    if live is not None and live.number != run.number and run.state == "finished":
        commands.append(
            ActionCommand(text=f"tidemill compare {live.name} {run.name}", does="compare it with the live run")
        )
    release, learned = release_of(run, known), known.learned_live
    if release is not None and (learned is None or learned.name != release.name):
        commands.append(ActionCommand(text=f"tidemill promote {release.name}", does=f"make {release.name} live"))
    if run.state in ("failed", "stopped"):
        again = "tidemill run" if run.kind == "refresh" else f"tidemill train {run.model}"
        commands.append(ActionCommand(text=again, does="try again"))
    return tuple(commands)
