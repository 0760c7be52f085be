"""Search over settings: trials are proposed, run, stored one by one, and pruned if they are clearly worse.

Trials are proposed in generations, one trial per process. A generation depends only on the seed and the trials of
earlier generations, so a search that was killed resumes exactly when it is restarted with the stored trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from tidemill.core.errors import SearchFailed
from tidemill.core.records.runs import Trial
from tidemill.core.search_space import SearchGrid, SearchRange
from tidemill.training.search.sampled_space import SampledSpace
from tidemill.training.search.sampler import TrialSampler
from tidemill.training.search.trial_process import Objective, TrialRequest
from tidemill.training.search.trial_runner import Keep, TrialRunner, forget

#: Nothing is pruned before this many trials have finished.
ENOUGH = 5


def run_search(
    space: Mapping[str, SearchRange | SearchGrid | tuple[Any, ...]],
    objective: Objective,
    *,
    seed: int = 0,
    trials: int = 40,
    minutes: float | None = None,
    processes: int = 1,
    prune: bool = True,
    known: Sequence[Trial] = (),
    keep: Keep = forget,
) -> list[Trial]:
    """All trials of the search, by number; `best_trial` returns the best.

    `space` names the settings: `tm.search(low, high)` samples (with Optuna), `tm.grid(…)` or a tuple lists values. If
    only lists or few integers are given, every combination is tried in order and `trials` is ignored. If there are
    both ranges and lists, every combination is tried at least once, then the search is free.
    Durations are sampled on a log scale and written back as text: `"43 days"`.

    `objective(parameters, report)` returns the value to maximise; it may `report` the value of each step (such as a
    validation window). A trial is pruned if the mean of its values so far is below the median of the trials of
    earlier generations at the same step. With `processes` above 1 or with `minutes`, it runs in worker processes and
    must be picklable: if it raises or dies, its trial is `failed`; trials still running at the deadline are stopped
    and stored as `late`. The minutes that `known` trials took count.

    `known` are trials stored before a kill (by `keep`, which is called with each trial as soon as it has ended); late
    ones among them are tried again. Raises `SettingRefused` for a space that cannot be searched and
    `SearchFailed` if no trial produced a result.

    >>> tried = run_search({"x": (1, 2, 3)}, lambda parameters, report: -abs(parameters["x"] - 2))
    >>> best_trial(tried).parameters
    {'x': 2}
    """
    proposals = TrialSampler(SampledSpace.from_settings(space), seed=seed, trials=trials)
    spent_s = sum(trial.wall_s for trial in known) / max(processes, 1)
    with TrialRunner(objective, processes=processes, minutes=minutes, spent_s=spent_s, keep=keep) as runner:
        every = searched(runner, proposals, known, prune=prune)
    if best_trial(every) is None:
        raise SearchFailed(no_figure(every), tip="allow more minutes, or fix what the trials report")
    return every


def searched(
    runner: TrialRunner, proposals: TrialSampler, known: Sequence[Trial], *, prune: bool = True
) -> list[Trial]:
    """All proposed trials, by number, up to the runner's deadline."""
    late = {trial.number: trial for trial in known if proposals.proposed(trial)}
    done = {number: trial for number, trial in late.items() if trial.state != "late"}
    for first in range(0, proposals.n, runner.processes):
        numbers = range(first, min(first + runner.processes, proposals.n))
        missing = [number for number in numbers if number not in done]
        if missing and not runner.over:
            before = [done[number] for number in range(first)]
            requests = dict(zip(numbers, proposals.propose(numbers, before), strict=True))
            bars = _bars(before) if prune else ()
            for trial in runner.run([TrialRequest(number, requests[number], bars) for number in missing]):
                (late if trial.state == "late" else done)[trial.number] = trial
        if not done.keys() >= set(numbers):
            break
    return [trial for _, trial in sorted((late | done).items())]


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The finished trial with the largest value, the earliest on a tie; `None` if none finished."""
    finished = [trial for trial in trials if trial.state == "finished" and trial.value is not None]
    return max(finished, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def no_figure(trials: Sequence[Trial]) -> str:
    """A message on why a search has no result."""
    failed = [trial for trial in trials if trial.state == "failed"]
    if failed:
        return f"no trial produced a result: {len(failed)} failed. The first message: {failed[0].says}"
    return "no trial finished before the deadline"


def _bars(before: Sequence[Trial]) -> tuple[float, ...]:
    """The median, per step, of the mean value so far; none at the last step, where the trial finishes anyway.

    A pruned trial counts at later steps with its last mean, so that the few surviving trials do not set the bar alone.
    """
    finished = [trial for trial in before if trial.state == "finished"]
    if len(finished) < ENOUGH:
        return ()
    ran = [trial.steps for trial in before if trial.state in ("finished", "pruned") and trial.steps]
    reached = range(1, min(len(trial.steps) for trial in finished))
    return tuple(median(fmean(steps[:step]) for steps in ran) for step in reached)
