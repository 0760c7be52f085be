"""AutoML for a table: baselines first, then a fixed portfolio within the time limit; the simplest wins a tie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import TooLittleData
from tidemill.core.records.assessment import EnsembleMember
from tidemill.models.learners.auto import Prefer
from tidemill.models.tabular.design_matrix import inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.link_functions import apply_link
from tidemill.training.statistics.ratio_estimate import mean_interval
from tidemill.training.statistics.selection_rule import replaces, simplicity_cost
from tidemill.training.tabular.automl.auto_plan import AutoPlan
from tidemill.training.tabular.automl.auto_process import FitJob, FitResult, fit_members
from tidemill.training.tabular.automl.baselines import NaivePlan, naive_plan
from tidemill.training.tabular.automl.member_settings import Curves, Leafwise, Settings, Symmetric
from tidemill.training.tabular.automl.portfolio import portfolio
from tidemill.training.tabular.automl.stacking import stack, stacked_apart
from tidemill.training.tabular.rows.folds import Fold, OutOfFold, blocks_of, folds_of
from tidemill.training.tabular.rows.row_losses import LINKS, USUAL, Measure, row_losses, shown
from tidemill.training.tabular.rows.table_columns import TableColumns, columns_of

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Progress = Callable[[str, dict[str, Any]], None]
#: Share of the time that members may use; the rest is for refitting the chosen plan on all rows.
SEARCHING = 0.75
#: Minimum training rows: fewer cannot be divided into folds.
FEWEST = 20
_MOST_LEVELS = 5_000
#: Settings of a member -> its library, and the module by which it is found; the others need none.
_LIBRARIES: dict[type, tuple[str, str]] = {Leafwise: ("LightGBM", "lightgbm"), Symmetric: ("CatBoost", "catboost")}
#: The command that installs them.
LEARN_EXTRA = "pip install 'tidemill[learn]'"


@dataclass(frozen=True)
class TabularChoice:
    """The chosen plan, all candidates, and the baseline."""

    plan: AutoPlan | NaivePlan
    members: tuple[EnsembleMember, ...]
    notes: tuple[str, ...]
    baseline: NaivePlan
    #: The held-out rows, and the chosen plan's predictions for them.
    out_of_fold: OutOfFold


@dataclass(frozen=True)
class _MemberCandidate:
    """A candidate plan: its margins (n, k) of the held-out rows, and its complexity."""

    name: str
    complexity: int
    plan: AutoPlan | NaivePlan
    margins: F64
    losses: F64


def choose_tabular(
    train: Examples,
    *,
    minutes: float | None,
    seed: int,
    place: Path,
    progress: Progress,
    processes: int = 1,
    seconds: float | None = None,
    measure: Measure | None = None,
    label: Literal["half", "f1"] = "half",
    prefer: Prefer = "simple",
    seeds: int = 1,
) -> TabularChoice:
    """The plan selected on these rows; `plan.fit(train, seed=seed)` then fits it.

    `seconds`, else `minutes`, limits the whole process including the fit on all rows; three quarters are for the
    choice. With `label="f1"` the decision threshold is chosen on held-out rows. The plan fits its trees with as many
    `seeds`. Files go to `place`. Raises
    `TooLittleData` for fewer than 20 rows or a single class.
    """
    _enough(train)
    held = _HeldOutRows(train, measure or USUAL[train.task], seed)
    columns = columns_of(train)
    baseline = held.naive(columns)
    bound = seconds if seconds is not None else _seconds(minutes)
    found = _members(train, held, place, progress, processes, bound) if columns.kept else []
    candidates = [baseline, *_alone(held, found), *_together(held, found)]
    chosen = _simplest(candidates, held.blocks, prefer)
    plan = chosen.plan
    if isinstance(plan, AutoPlan) and label == "f1" and train.task == "binary":
        plan = msgspec.structs.replace(plan, threshold=_best_f1(chosen.margins[:, 0], held.target))
    notes = (*columns.notes, *_notes(train, held, found, chosen), *_cost(held, candidates, chosen))
    assert isinstance(baseline.plan, NaivePlan)
    if isinstance(plan, AutoPlan):
        plan = msgspec.structs.replace(plan, seeds=seeds)
    answer = apply_link(chosen.margins, LINKS[train.task])
    out_of_fold = OutOfFold(held.rows, answer if train.task == "classes" else answer[:, 0])
    return TabularChoice(plan, _records(held, candidates, found, chosen), notes, baseline.plan, out_of_fold)


def _enough(train: Examples) -> None:
    if len(train) < FEWEST:
        raise TooLittleData(
            f"{len(train)} training rows are too few: at least {FEWEST} are needed", tip="collect more rows"
        )
    if train.task in ("binary", "classes") and len(np.unique(train.target)) < 2:
        raise TooLittleData("all rows have the same class", tip="give rows of at least two classes")


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else minutes * 60


class _HeldOutRows:
    """The held-out rows, fold by fold, and the losses of a candidate on them."""

    def __init__(self, train: Examples, measure: Measure, seed: int) -> None:
        self.train, self.measure, self.seed = train, measure, seed
        self.folds: tuple[Fold, ...] = folds_of(train, seed=seed)
        self.rows: I64 = np.concatenate([held for _, held in self.folds])
        self.target = train.target[self.rows]
        self.blocks = blocks_of(train, self.rows)

    def candidate(self, name: str, complexity: int, plan: AutoPlan | NaivePlan, margins: F64) -> _MemberCandidate:
        losses = row_losses(margins, self.target, self.train.task, self.measure)
        return _MemberCandidate(name, complexity, plan, margins, losses)

    def naive(self, columns: TableColumns) -> _MemberCandidate:
        """The better of one value for all rows and one value per text of the best input."""
        names = [one.name for one in columns.texts if len(one.levels) <= _MOST_LEVELS]
        by = names if self.train.task in ("number", "count") else []
        every = [self._naive(naive_plan(self.train.task, measure=self.measure, by=name)) for name in ("", *by)]
        return min(every, key=lambda one: one.losses.mean())

    def _naive(self, plan: NaivePlan) -> _MemberCandidate:
        n_classes = len(self.train.classes)
        margins = [self._of_fold(plan, fit, held, n_classes) for fit, held in self.folds]
        return self.candidate(plan.name, 0, plan, np.concatenate(margins))

    def _of_fold(self, plan: NaivePlan, fit: I64, held: I64, n_classes: int) -> F64:
        every = plan.margin(self.train.target[fit], n_classes)
        if not plan.by:
            return np.tile(every, (len(held), 1))
        field = [one for one in self.train.fields if one.name == plan.by]
        column = inputs_of(self.train.inputs, field)[plan.by].fill_null("")
        figures = plan.figures(column.take(fit), self.train.target[fit])
        texts = column.take(held).to_pylist()
        return np.asarray([figures.get(text, float(every[0])) for text in texts])[:, None]


def _members(
    train: Examples, held: _HeldOutRows, place: Path, progress: Progress, processes: int, seconds: float | None
) -> list[tuple[FitResult, F64 | None]]:
    def report(fitted: FitResult) -> None:
        about = {"why": fitted.says} if fitted.state == "failed" else {"cpu_s": round(fitted.cpu_s, 3)}
        progress("member", {"name": fitted.settings.name, "state": fitted.state, **about})

    every = portfolio(train)
    absent = [FitResult(settings=one, state="failed", says=why) for one in every if (why := _why_absent(one))]
    for fitted in absent:
        report(fitted)
    job = FitJob(members=tuple(one for one in every if not _why_absent(one)), measure=held.measure, seed=held.seed)
    searching = None if seconds is None else seconds * SEARCHING
    found = fit_members(train, job, place=place, seconds=searching, processes=processes, told=report)
    return [*found, *((fitted, None) for fitted in absent)]


def _why_absent(settings: Settings) -> str:
    """Why a member cannot be fitted here; empty if its library is installed."""
    name, module = _LIBRARIES.get(type(settings), ("", ""))
    return f"{name} is not installed: {LEARN_EXTRA}" if module and util.find_spec(module) is None else ""


def _plan(
    held: _HeldOutRows, settings: Sequence[Settings], weights: Sequence[float], bias: Sequence[float]
) -> AutoPlan:
    return AutoPlan(
        task=held.train.task,
        measure=held.measure,
        members=tuple(settings),
        weights=tuple(weights),
        bias=tuple(bias),
        seed=held.seed,
    )


def _alone(held: _HeldOutRows, found: Sequence[tuple[FitResult, F64 | None]]) -> list[_MemberCandidate]:
    """Each fitted member as a separate candidate."""
    candidates = []
    for fitted, margins in found:
        if margins is not None:
            plan = _plan(held, [fitted.settings], [1.0], [0.0] * margins.shape[1])
            complexity = 1 if isinstance(fitted.settings, Curves) else 2
            candidates.append(held.candidate(fitted.settings.name, complexity, plan, margins))
    return candidates


def _together(held: _HeldOutRows, found: Sequence[tuple[FitResult, F64 | None]]) -> list[_MemberCandidate]:
    """The stack of all members if there are at least two; its losses are out of fold."""
    done = [(fitted.settings, margins) for fitted, margins in found if margins is not None]
    if len(done) < 2:
        return []
    margins = np.stack([mine for _, mine in done])  # (m, n, k)
    task, measure = held.train.task, held.measure
    stacked = stack(margins, held.target, task, measure)
    kept = [(settings, weight) for (settings, _), weight in zip(done, stacked.weights, strict=True) if weight > 0]
    plan = _plan(held, [one for one, _ in kept], [weight for _, weight in kept], stacked.bias)
    apart = stacked_apart(margins, held.target, task, measure, seed=held.seed)
    return [held.candidate("stack", 3, plan, apart)]


def _simplest(candidates: Sequence[_MemberCandidate], blocks: I64, prefer: Prefer) -> _MemberCandidate:
    """The simplest candidate within noise, or the best one; of each complexity the best competes."""
    present = candidates[0]
    for complexity in (1, 2, 3):
        rivals = [one for one in candidates if one.complexity == complexity]
        if rivals:
            rival = min(rivals, key=lambda one: one.losses.mean())
            if replaces(-rival.losses, -present.losses, blocks, prefer)[0]:
                present = rival
    return present


def _best_f1(margin: F64, target: F64) -> float:
    """The decision threshold with the best F1 on these rows."""
    order = np.argsort(-margin, kind="stable")
    hits = np.cumsum(target[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + target.sum())
    ends = np.append(np.diff(margin[order]) != 0, True)  # equal probabilities get the same label
    best = int(np.argmax(np.where(ends, f1, -1.0)))
    return float(1 / (1 + np.exp(-margin[order[best]])))


def _notes(
    train: Examples, held: _HeldOutRows, found: Sequence[tuple[FitResult, F64 | None]], chosen: _MemberCandidate
) -> list[str]:
    notes = []
    if train.time is not None and len(held.folds) == 1:
        notes.append(f"selected on the latest {len(held.rows)} rows, fitted on the {len(held.folds[0][0])} before them")
    late = [fitted.settings.name for fitted, _ in found if fitted.state == "late"]
    if late:
        notes.append(f"{', '.join(late)} did not finish in time")
    failed: dict[str, list[str]] = {}
    for fitted, _ in found:
        if fitted.state == "failed":
            failed.setdefault(fitted.says, []).append(fitted.settings.name)
    notes += [f"{', '.join(names)} failed: {says}" for says, names in failed.items()]
    if all(margins is None for _, margins in found):
        why = "no candidate could be fitted" if found else "no input is left to train on"
        why = "nothing was fitted in time" if late else why
        notes.append(f"{why}, so the baseline is used: {chosen.name}")
    return notes


def _cost(held: _HeldOutRows, candidates: Sequence[_MemberCandidate], chosen: _MemberCandidate) -> list[str]:
    """What the chosen candidate costs compared with the best one, if that is another."""
    best = min(candidates, key=lambda one: one.losses.mean())
    if best is chosen:
        return []
    lost = mean_interval(chosen.losses - best.losses, held.blocks)
    words = "squared error" if held.measure == "rmse" else held.measure
    return [simplicity_cost(chosen.name, best.name, words, lost, float(chosen.losses.mean()))]


def _records(
    held: _HeldOutRows,
    candidates: Sequence[_MemberCandidate],
    found: Sequence[tuple[FitResult, F64 | None]],
    chosen: _MemberCandidate,
) -> tuple[EnsembleMember, ...]:
    cpu = {fitted.settings.name: fitted.cpu_s for fitted, _ in found}
    stacked = {one.name for one in chosen.plan.members} if isinstance(chosen.plan, AutoPlan) else set()
    members = [
        EnsembleMember(
            name=one.name,
            settings=msgspec.json.encode(one.plan.settings()).decode(),
            score=shown(mean_interval(one.losses, held.blocks), held.measure),
            cpu_s=cpu.get(one.name, 0.0),
            state="chosen" if one is chosen else "stacked" if one.name in stacked else "not selected",
            says=" ".join(_cost(held, candidates, chosen)) if one is chosen else _says(one, chosen, held.blocks),
        )
        for one in candidates
    ]
    return (*members, *(_unfitted(fitted) for fitted, margins in found if margins is None))


def _says(one: _MemberCandidate, chosen: _MemberCandidate, blocks: I64) -> str:
    difference = mean_interval(one.losses - chosen.losses, blocks)
    return f"loss {difference.value:+.4g} ({difference.low:+.4g} to {difference.high:+.4g}) compared with {chosen.name}"


def _unfitted(fitted: FitResult) -> EnsembleMember:
    return EnsembleMember(
        name=fitted.settings.name,
        settings=msgspec.json.encode(fitted.settings).decode(),
        score=None,
        cpu_s=fitted.cpu_s,
        state=fitted.state,
        says=fitted.says,
    )
