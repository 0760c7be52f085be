"""Automatic choice of a learner: all learners are tried, cheapest first, and the simplest wins a tie.

A more expensive learner replaces the current one only if the paired 95% interval of their difference over the same
validation users lies above zero. Its settings were chosen on these users too, so a small win may be luck: the test
days, which are not used here, measure its real value.

Each learner is tuned within an equal share of the time that is left. What others did not need goes to those whose share
ended first, the best so far before the others. A learner that the deadline stops before its first settings are measured
is compared on the validation windows that it has finished. Where all events have the same time, learners that need
times are left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.errors import SearchFailed
from tidemill.core.formatting import count
from tidemill.core.records.runs import Trial
from tidemill.models import LearnerSpec
from tidemill.models.learners.auto import Auto, Prefer, learners_to_try
from tidemill.training.recommender.validation_objective import LEARNER, ValidationObjective
from tidemill.training.search.choice_result import ChoiceResult, is_verdict, rows
from tidemill.training.search.coordinate_ascent import coordinate_choice
from tidemill.training.search.sampled_space import key
from tidemill.training.search.trial_process import TrialRequest
from tidemill.training.search.trial_runner import Keep, TrialCache, TrialRunner, forget
from tidemill.training.statistics.ratio_estimate import mean_interval
from tidemill.training.statistics.selection_rule import replaces, simplicity_cost

F64 = npt.NDArray[np.float64]


def members_of(auto: Auto) -> dict[str, LearnerSpec]:
    """The learners to try by name, cheapest first; `SettingRefused` for an unknown name."""
    return {name: kind.from_settings({}) for name, kind in learners_to_try(auto.only).items()}


@dataclass(frozen=True)
class _LearnerCandidate:
    """A learner with chosen settings: their trial, the metric of each user, and the cost."""

    name: str
    trial: Trial
    of_users: F64
    cpu_s: float
    number: int = -1

    @property
    def n_windows(self) -> int:
        """Number of validation windows that the metrics are of."""
        return len(self.trial.steps)


def choose_learner(
    figures: ValidationObjective,
    runner: TrialRunner,
    known: Sequence[Trial],
    keep: Keep,
    n_users: int,
    prefer: Prefer = "simple",
) -> ChoiceResult:
    """The selected learner of `figures`; they are tried in order.

    Each learner gets an equal share of the remaining time. The verdict on each is stored as a trial, with the CPU
    seconds of all its trials. Raises `SearchFailed` if none produced a result.
    """
    asking = TrialCache(runner, known)
    verdicts = {(key(trial.parameters), trial.says): trial.number for trial in known if is_verdict(trial)}
    notes: list[str] = []
    candidates: dict[str, _LearnerCandidate | str] = {}
    cut_off: list[_LearnerCandidate] = []
    simplest: _LearnerCandidate | None = None
    for place, (name, spec) in enumerate(figures.learners.items()):
        if spec.CAPABILITIES.needs_times and not figures.has_times:
            candidates[name] = f"{name} was left out: it needs times, and all events have the same one"
            continue
        runner.warm()
        left_s = runner.left_s
        end = None if left_s is None else time.monotonic() + left_s / (len(figures.learners) - place)
        found = candidates[name] = _tried(name, spec, asking, figures, runner, end, simplest)
        if isinstance(found, str):
            continue
        simplest = simplest or found
        if found.trial.state != "late" and end is not None and time.monotonic() >= end:
            cut_off.append(found)
    for found in sorted(cut_off, key=lambda one: one.trial.value or 0.0, reverse=True):
        if not runner.over:
            again = _tried(found.name, figures.learners[found.name], asking, figures, runner, None, simplest)
            candidates[found.name] = found if isinstance(again, str) else again
        if runner.over:
            notes.append(f"{found.name} was compared with the best settings found in its share of the time")
    present: _LearnerCandidate | None = None
    for found in candidates.values():
        if isinstance(found, str):
            notes.append(found)
            continue
        if found.trial.state == "late" and present is not None:
            notes.append(_partly_compared(found, present))
        wins, says = _compared(found, present, prefer)
        number = verdicts.get((key(found.trial.parameters), says))
        if number is None:
            number = asking.number()
            keep(_verdict(found, number, says))
        if wins:
            present = replace(found, number=number)
    if present is None:
        raise SearchFailed(f"no learner produced a result: {'; '.join(notes)}", tip="allow more minutes")
    notes += _cost(present, [one for one in candidates.values() if not isinstance(one, str)])
    return ChoiceResult(
        spec=figures.settled(present.trial.parameters),
        tried=rows(asking.tried.values(), n_users),
        best=present.number,
        notes=tuple(notes),
    )


def _tried(
    name: str,
    spec: LearnerSpec,
    asking: TrialCache,
    figures: ValidationObjective,
    runner: TrialRunner,
    end: float | None,
    present: _LearnerCandidate | None,
) -> _LearnerCandidate | str:
    """The learner with the best settings found until `end`, or the reason why it is left out.

    If its first settings were stopped and `present` can be compared, their value is that of the finished windows.
    """
    grid = spec.open(figures.n_events)
    mine: list[Trial] = []

    def ask(settings: Sequence[Mapping[str, Any]]) -> list[Trial | None]:
        until_s = None if end is None else max(end - time.monotonic(), 0.0)
        found = asking(settings, until_s=until_s)
        mine.extend(trial for trial in found if trial is not None)
        return found

    def values(settings: Sequence[Mapping[str, Any]]) -> list[float | None]:
        return [trial.value if trial is not None else None for trial in ask(settings)]

    fixed = {LEARNER: name}
    (first,) = ask([fixed | {setting: listed[0] for setting, listed in grid.items()}])
    if first is None:
        late = next((late for late in asking.late.values() if late.parameters.get(LEARNER) == name), None)
        of_users = figures.of_users(late.parameters) if late is not None and late.steps else None
        if present is None or late is None or of_users is None:
            return f"{name} did not finish: the deadline came first{_time_needed(late, present)}"
        late = msgspec.structs.replace(late, value=float(of_users.mean()))
        return _LearnerCandidate(name, late, of_users, late.cpu_s)
    if first.value is None:
        return f"{name} was left out: {first.says}"
    chosen = fixed | coordinate_choice(grid, values, fixed=fixed, top=first.value)
    trial = asking.tried[key(chosen)]
    of_users = figures.of_users(trial.parameters)
    if of_users is None:  # known from a run that was killed: its value is stored, the metrics of its users are not
        runner.run([TrialRequest(trial.number, trial.parameters)], keep=forget)
        of_users = figures.of_users(trial.parameters)
    if of_users is None:
        return f"{name} did not finish again: the deadline came first"
    return _LearnerCandidate(name, trial, of_users, _cpu_s(mine))


def _compared(candidate: _LearnerCandidate, present: _LearnerCandidate | None, prefer: Prefer) -> tuple[bool, str]:
    """Whether the candidate replaces the current learner, and why."""
    if present is None:
        return True, "selected: the simplest learner"
    n = min(len(candidate.of_users), len(present.of_users))  # the windows come in the same order
    wins, difference = replaces(candidate.of_users[:n], present.of_users[:n], prefer=prefer)
    by = f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) compared with {present.name}"
    if wins:
        return True, f"selected: {by}"
    return False, f"not selected: {by}, which is {'simpler' if prefer == 'simple' else 'better'}"


def _cost(present: _LearnerCandidate, candidates: Sequence[_LearnerCandidate]) -> list[str]:
    """What the selected learner costs compared with the best one, of those with the same validation users."""
    alike = [one for one in candidates if len(one.of_users) == len(present.of_users)]
    best = max(alike, key=lambda one: float(one.of_users.mean()))
    if best.name == present.name:
        return []
    lost = mean_interval(best.of_users - present.of_users)
    return [simplicity_cost(present.name, best.name, "validation score", lost, float(present.of_users.mean()))]


def _partly_compared(candidate: _LearnerCandidate, present: _LearnerCandidate) -> str:
    n, of, spent_s = candidate.n_windows, present.n_windows, candidate.trial.wall_s
    return (
        f"{candidate.name} was compared on {n} of {of} validation windows: the deadline came first, and all of them "
        f"take about {count(math.ceil(spent_s / n * of / 60), 'minute')}"
    )


def _time_needed(late: Trial | None, present: _LearnerCandidate | None) -> str:
    """At least how long a trial takes that did not finish its first window, if a minute or more."""
    minutes = late.wall_s * present.n_windows / 60 if late is not None and present is not None else 0.0
    return f"; it takes more than {count(math.floor(minutes), 'minute')}" if minutes >= 1 else ""


def _verdict(candidate: _LearnerCandidate, number: int, says: str) -> Trial:
    return Trial(
        number=number,
        parameters=candidate.trial.parameters,
        state="finished",
        value=candidate.trial.value,
        steps=candidate.trial.steps,
        cpu_s=candidate.cpu_s,
        wall_s=candidate.trial.wall_s,
        says=says,
    )


def _cpu_s(trials: Iterable[Trial]) -> float:
    return sum(trial.cpu_s for trial in {trial.number: trial for trial in trials}.values())
