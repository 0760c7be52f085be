"""The sampler of a search: the next trial as a pure function of the seed and earlier trials, so a search can resume.

Every generation uses a new Optuna study with all earlier trials in order (tree-structured Parzen estimator,
Bergstra et al. 2011). No state is kept between generations.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tidemill.core.errors import BackendMissing, SettingRefused
from tidemill.core.records.runs import Trial
from tidemill.training.search.sampled_space import SampledRange, SampledSpace, key, place

#: Random trials before the estimator is used.
_RANDOM = 10
#: Attempts to redraw a point that was tried before; then points are drawn at random.
_AGAIN = 20


class TrialSampler:
    """The trials of one search in order; `n` is their largest number.

    If all points can be enumerated (grids, few integers), all are tried in order, whatever `n`.
    """

    def __init__(self, space: SampledSpace, *, seed: int, trials: int) -> None:
        if trials < 1:
            raise SettingRefused(f"a search needs at least 1 trial, not {trials}", tip="use 1 or more")
        self.space, self._seed = space, seed
        self._points = space.points(trials)
        self._combinations = [] if self._points is not None else list(space.combinations())
        if len(self._combinations) > trials:
            raise SettingRefused(
                f"the grids make {len(self._combinations)} combinations, but only {trials} trials are allowed: "
                "each combination needs at least one",
                tip=f"allow at least {len(self._combinations)} trials (--trials {4 * len(self._combinations)})",
            )
        self.n = trials if self._points is None else len(self._points)

    def proposed(self, trial: Trial) -> bool:
        """Whether a trial can belong to this search. Raises `SettingRefused` for settings outside the space."""
        self.space.check(trial.parameters)
        if trial.number >= self.n:
            return False
        return self._points is None or key(self._points[trial.number]) == key(trial.parameters)

    def propose(self, numbers: range, before: Sequence[Trial]) -> list[dict[str, Any]]:
        """The settings of the trials `numbers`, which are proposed together, given all trials `before` them."""
        if self._points is not None:
            return [self._points[number] for number in numbers]
        tried = {key(trial.parameters) for trial in before}
        with _study(_whole(self._seed, numbers.start)) as study:
            self._tell(study, before)
            return [self._fresh(study, number, tried) for number in numbers]

    def _fresh(self, study: Any, number: int, tried: set[str]) -> dict[str, Any]:
        wished = self._combinations[number] if number < len(self._combinations) else {}
        for again in itertools.count():
            found = self._asked(study, wished) if again < _AGAIN else self.space.drawn(f"{self._seed}/{number}/{again}")
            if again >= _AGAIN:
                found |= wished
            # Ranges with few distinct values may be exhausted within one combination: then a point is tried again.
            if key(found) not in tried or again > 10 * _AGAIN:
                tried.add(key(found))
                return found
        raise AssertionError("the loop above ends by returning")

    def _asked(self, study: Any, wished: dict[str, Any]) -> dict[str, Any]:
        if wished:
            study.enqueue_trial({name: place(self.space.listed[name], value) for name, value in wished.items()})
        drawn = study.ask(self._distributions()).params
        return {
            name: axis.written(drawn[name]) if isinstance(axis, SampledRange) else axis[drawn[name]]
            for name, axis in self.space.axes.items()
        }

    def _tell(self, study: Any, before: Sequence[Trial]) -> None:
        from optuna.trial import TrialState, create_trial  # noqa: PLC0415 - an optional library, loaded where it is used

        states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        for trial in before:
            numbers = {
                name: axis.number(trial.parameters[name])
                if isinstance(axis, SampledRange)
                else place(axis, trial.parameters[name])
                for name, axis in self.space.axes.items()
            }
            study.add_trial(
                create_trial(
                    state=states[trial.state],
                    value=trial.value if trial.state == "finished" else None,
                    params={name: int(value) if self._is_whole(name) else value for name, value in numbers.items()},
                    distributions=self._distributions(),
                    intermediate_values=dict(enumerate(trial.steps)),
                )
            )

    def _is_whole(self, name: str) -> bool:
        axis = self.space.axes[name]
        return not isinstance(axis, SampledRange) or axis.size is not None

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import (  # noqa: PLC0415 - an optional library, loaded where it is used
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, Any] = {}
        for name, axis in self.space.axes.items():
            if not isinstance(axis, SampledRange):
                found[name] = CategoricalDistribution(tuple(range(len(axis))))
            elif axis.size is not None:
                found[name] = IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
            else:
                found[name] = FloatDistribution(axis.low, axis.high, log=axis.is_log)
        return found


@contextmanager
def _study(seed: int) -> Iterator[Any]:
    """A new study; Optuna's log is silenced meanwhile."""
    try:
        import optuna  # noqa: PLC0415 - an optional library, loaded where it is used
    except ModuleNotFoundError as missing:
        raise BackendMissing(
            "a search over ranges needs Optuna, which is not installed", tip="pip install 'tidemill[learn]'"
        ) from missing
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM)
        yield optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _whole(seed: int, first: int) -> int:
    """An independent seed for each generation."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{first}".encode()).digest()[:4], "big")
