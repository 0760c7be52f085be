"""Choice of settings on validation days, by the metric of warm users.

The days after the split are never passed in, so they cannot influence the choice. Settings given as a range or a grid
are searched first, with open settings at their defaults (first values); then the open settings are chosen one after
another. A setting changes only for a better value, so the default wins a tie.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidemill.core.errors import SearchFailed, SettingRefused
from tidemill.core.processes.single_thread import single_thread
from tidemill.core.records.runs import Trial
from tidemill.models import Interactions, LearnerSpec
from tidemill.models.learners.auto import Auto
from tidemill.models.learners.learner import Progress
from tidemill.models.learners.learning import silent
from tidemill.training.recommender.auto_learner import choose_learner, members_of
from tidemill.training.recommender.validation import ENOUGH, thinned, windows_before
from tidemill.training.recommender.validation_objective import ValidationObjective, write_events
from tidemill.training.search.choice_result import ChoiceResult, is_verdict, rows
from tidemill.training.search.coordinate_ascent import coordinate_choice
from tidemill.training.search.run_search import best_trial, no_figure, searched
from tidemill.training.search.sampled_space import SampledSpace, key
from tidemill.training.search.sampler import TrialSampler
from tidemill.training.search.search_budget import DEFAULT_BUDGET, SearchBudget
from tidemill.training.search.trial_runner import Keep, TrialCache, TrialRunner

#: Prefix of the temporary folder from which worker processes read events.
PLACE = "choose-"


@single_thread()
def choose(
    spec: LearnerSpec,
    train: Interactions,
    *,
    effort: SearchBudget = DEFAULT_BUDGET,
    place: Path | None = None,
    progress: Progress = silent,
) -> ChoiceResult:
    """Choose the settings that `spec` leaves open, or gives as a range or a grid, on validation windows inside `train`.

    `tm.auto()` becomes the selected learner. With too few warm users, open settings keep their defaults and nothing is
    tried. `place` is a folder for files that worker processes read, by default the system's temporary folder. Raises
    `SearchFailed` if no trial produced a result.
    """
    if isinstance(spec, Auto) and spec.seeds > 1:
        raise SettingRefused(
            f"auto(seeds={spec.seeds}) averages fits of a tabular model, but this is a recommender",
            tip="leave `seeds` out",
        )
    ranges = spec.searched()
    if not spec.open() and not ranges and not isinstance(spec, Auto):
        return ChoiceResult(spec.settled(), ())
    windows = windows_before(train)
    if not windows:
        return ChoiceResult(
            plainest(spec), (), notes=(f"fewer than {ENOUGH} warm users before the split: default settings are used",)
        )
    n_users = sum(len(window.users) for window in windows)
    learners = members_of(spec) if isinstance(spec, Auto) else {spec.name: spec}
    if isinstance(spec, Auto) and effort.minutes is None:
        effort = replace(effort, minutes=spec.time_limit(len(train)))
    with tempfile.TemporaryDirectory(prefix=PLACE, dir=place) as folder:
        of_each = isinstance(spec, Auto)
        figures = ValidationObjective(learners, Path(folder), windows, of_each=of_each, n_events=len(train))
        proposals = (
            TrialSampler(SampledSpace.from_settings(ranges), seed=effort.seed, trials=effort.trials) if ranges else None
        )
        total = sum(1 + sum(len(values) - 1 for values in one.open(len(train)).values()) for one in learners.values())
        keep = _telling(effort.keep, progress, total + (proposals.n - 1 if proposals else 0))
        with TrialRunner(
            figures, processes=effort.processes, minutes=effort.minutes, spent_s=effort.spent_s, keep=keep
        ) as runner:
            if runner.apart:
                write_events(thinned(train), figures.place)
            if isinstance(spec, Auto):
                return choose_learner(figures, runner, effort.known, effort.keep, n_users, spec.prefer)
            return _settled(figures, proposals, runner, effort.known, n_users)


def plainest(spec: LearnerSpec) -> LearnerSpec:
    """The learner if nothing can be chosen: the default of each setting; of several learners the simplest."""
    return next(iter(members_of(spec).values())).settled() if isinstance(spec, Auto) else spec.settled()


def _settled(
    figures: ValidationObjective,
    proposals: TrialSampler | None,
    runner: TrialRunner,
    known: Sequence[Trial],
    n_users: int,
) -> ChoiceResult:
    (spec,) = figures.learners.values()
    grid = spec.open(figures.n_events)
    trials: list[Trial] = []
    if proposals is not None:
        names = set(proposals.space.axes)
        trials = searched(runner, proposals, [trial for trial in known if set(trial.parameters) == names])
        best = best_trial(trials)
        if best is None:
            failed = [error for number, error in sorted(runner.errors.items())]
            raise failed[0] if failed else SearchFailed(no_figure(trials), tip="give more minutes")
        fixed, first = best.parameters, proposals.n
    else:
        fixed, first = {}, 0
    asking = TrialCache(runner, known, first=first)
    if proposals is None:
        best = asking.first({name: values[0] for name, values in grid.items()})
    assert best is not None and best.value is not None

    def ask(settings: Sequence[Mapping[str, Any]]) -> list[float | None]:
        return [trial.value if trial is not None else None for trial in asking(settings)]

    chosen = fixed | coordinate_choice(grid, ask, fixed=fixed, top=best.value)
    every = [*trials, *asking.tried.values()]
    return ChoiceResult(
        spec=figures.settled(chosen),
        tried=rows(every, n_users),
        best=asking.tried.get(key(chosen), best).number,
        notes=notes_of(every, late=runner.over),
    )


def notes_of(trials: Sequence[Trial], *, late: bool) -> tuple[str, ...]:
    """Notes about failed trials and the deadline."""
    failed = [trial for trial in trials if trial.state == "failed"]
    notes = [f"{len(failed)} of {len(trials)} trials failed; the first message: {failed[0].says}"] if failed else []
    if late:
        notes.append(f"the deadline came after {len(trials)} trials: settings that were not tried keep their defaults")
    return tuple(notes)


def _telling(keep: Keep, progress: Progress, of: int) -> Keep:
    """A function that stores each trial and reports progress."""
    n_tried = 0

    def kept(trial: Trial) -> None:
        nonlocal n_tried
        keep(trial)
        if is_verdict(trial):
            return
        n_tried += 1
        if trial.value is not None:
            progress("choose", {"tried": n_tried, "of": of, "score": trial.value} | trial.parameters)

    return kept
