"""Parallel coordinates of the trials of a search: one axis for each setting that varies, the score last.

A trial without a score ends below the score axis, and a setting that a trial does not have is drawn below its
axis, in a separate lane. With very many trials, the best and an even sample of the others are drawn; the table next to
the drawing lists all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.console.drawings.curve import short
from tidemill.console.drawings.scale import ticks
from tidemill.console.formatting import parameter
from tidemill.core.duration import duration
from tidemill.core.errors import UsageError
from tidemill.core.records.runs import Trial

#: Number of drawn trials: the best of them first, the rest an even sample of the others.
DRAWN, BEST = 320, 80
#: Maximum number of readable axes; the settings with the most values are used.
AXES = 8
_LEFT, _RIGHT, _TOP, _BOTTOM, _LANE = 98.0, 78.0, 40.0, 264.0, 296.0


@dataclass(frozen=True)
class Tick:
    """A value on an axis."""

    y: float
    text: str


@dataclass(frozen=True)
class PlotAxis:
    """One axis: a setting, or the score."""

    name: str
    x: float
    ticks: tuple[Tick, ...]
    #: Whether some trial has no value here, so that the lane below is used.
    missing: bool


@dataclass(frozen=True)
class TrialLine:
    """One trial as a line."""

    number: int
    state: str
    best: bool
    #: Whether it is among the best tenth of the finished trials.
    strong: bool
    path: str
    #: End point, where the mark of its result is drawn.
    x: float
    y: float
    says: str


@dataclass(frozen=True)
class ParallelPlot:
    """All geometry of the drawing."""

    width: float
    height: float
    top: float
    bottom: float
    lane: float
    axes: tuple[PlotAxis, ...]
    #: The best trial last, so that it is drawn on top.
    threads: tuple[TrialLine, ...]
    #: Number of trials, and varying settings that have no axis.
    n: int
    left_out: tuple[str, ...]


def varying(trials: Sequence[Trial]) -> list[str]:
    """The settings that differ between trials, in order of first appearance."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    return [name for name in names if len({_key(trial, name) for trial in trials}) > 1]


def parallel_plot(trials: Sequence[Trial], best: int | None, measure: str = "score") -> ParallelPlot | None:
    """Lay `trials` out; `None` if nothing varies, or there are fewer than two."""
    names = varying(trials)
    if len(trials) < 2 or not names:
        return None
    if len(names) > AXES:
        most = sorted(names, key=lambda name: -len({_key(trial, name) for trial in trials}))[:AXES]
        kept, left_out = [name for name in names if name in most], tuple(name for name in names if name not in most)
    else:
        kept, left_out = names, ()
    scales = [_Scale([trial.parameters.get(name) for trial in trials]) for name in kept]
    figures = _Scale([_figure(trial) for trial in trials])
    gap = min(230.0, max(124.0, (600 - _LEFT - _RIGHT) / len(kept)))
    spots = [round(_LEFT + gap * place, 1) for place in range(len(kept) + 1)]
    axes = [
        PlotAxis(name=name, x=x, ticks=scale.ticks(), missing=scale.missing)
        for name, x, scale in zip([*kept, measure], spots, [*scales, figures], strict=True)
    ]
    finished = sorted((_rank(trial) for trial in trials if trial.state == "finished"), reverse=True)
    bar = finished[(len(finished) - 1) // 10] if finished else None
    threads = []
    for trial in _chosen(trials, best):
        values = [*(trial.parameters.get(name) for name in kept), _figure(trial)]
        heights = [scale.y(value) for scale, value in zip([*scales, figures], values, strict=True)]
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in zip(spots, heights, strict=True))
        strong = bar is not None and _rank(trial) >= bar
        threads.append(
            TrialLine(number=trial.number, state=trial.state, best=trial.number == best, strong=strong, path=path,
                   x=spots[-1], y=heights[-1], says=describe(trial))
        )  # fmt: skip
    return ParallelPlot(
        width=spots[-1] + _RIGHT, height=_LANE + 18, top=_TOP, bottom=_BOTTOM, lane=_LANE,
        axes=tuple(axes), threads=tuple(threads), n=len(trials), left_out=left_out,
    )  # fmt: skip


def describe(trial: Trial) -> str:
    """A trial in one sentence."""
    settings = ", ".join(f"{name} {parameter(value)}" for name, value in trial.parameters.items())
    figure = _figure(trial)
    score = "" if figure is None else f" {figure:.4f}"
    return f"Trial {trial.number}, {trial.state}{score}: {settings or 'no settings'}"


def _figure(trial: Trial) -> float | None:
    """The score of a trial; of a pruned one, the last reported value."""
    value = trial.value if trial.value is not None else trial.steps[-1] if trial.steps else None
    return value if value is not None and math.isfinite(value) else None


def _chosen(trials: Sequence[Trial], best: int | None) -> list[Trial]:
    """The trials to draw, the best last."""
    ranked = sorted(trials, key=lambda trial: (trial.number == best, _rank(trial)))
    if len(ranked) <= DRAWN:
        return ranked
    rest, top = ranked[:-BEST], ranked[-BEST:]
    some = DRAWN - BEST
    return [rest[k * len(rest) // some] for k in range(some)] + top


def _rank(trial: Trial) -> tuple[bool, float]:
    figure = _figure(trial)
    return trial.state == "finished", -math.inf if figure is None else figure


def _key(trial: Trial, name: str) -> str:
    return json.dumps(trial.parameters[name], sort_keys=True, default=str) if name in trial.parameters else ""


def number_of(value: Any) -> float | None:
    """A setting as a number if it is one: a number, or a duration in microseconds.

    >>> number_of(3), number_of("2 seconds"), number_of(True), number_of("cosine")
    (3.0, 2000000.0, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str) and len(value) < 40:
        try:
            return float(duration(value))
        except UsageError:
            return None
    return None


class _Scale:
    """One setting's values on its axis: numbers and durations to scale, others evenly spaced."""

    def __init__(self, values: Sequence[Any]) -> None:
        given = [value for value in values if value is not None]
        self.missing = len(given) < len(values)
        numbers = [number_of(value) for value in given]
        self._texts = sorted({parameter(value) for value in given})
        self._times = any(isinstance(value, str) for value in given)
        self._whole = bool(given) and all(isinstance(value, int) for value in given)
        fit = [number for number in numbers if number is not None]
        mixed = len({isinstance(value, str) for value in given}) > 1
        self._numeric = bool(fit) and len(fit) == len(numbers) and not mixed
        if self._numeric:
            self._low, self._high = min(fit), max(fit)
            self._log = self._low > 0 and self._high >= 10 * self._low and _crowded(sorted(fit))
            self._few = {number: _short(value) for number, value in zip(fit, given, strict=True)}

    def y(self, value: Any) -> float:
        """The y coordinate of a value; missing values are drawn in the lane below the axis."""
        if value is None:
            return _LANE
        if not self._numeric:
            n = len(self._texts)
            share = 0.5 if n == 1 else self._texts.index(parameter(value)) / (n - 1)
        else:
            number = number_of(value)
            assert number is not None  # an axis with other values is categorical
            share = self._share(number)
        return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)

    def _share(self, number: float) -> float:
        if self._high == self._low:
            return 0.5
        if self._log:
            return math.log(number / self._low) / math.log(self._high / self._low)
        return (number - self._low) / (self._high - self._low)

    def ticks(self) -> tuple[Tick, ...]:
        """The axis labels: every value if there are few, else round numbers between both ends."""
        if not self._numeric:
            step = math.ceil(len(self._texts) / 9) if self._texts else 1
            return tuple(Tick(self.y(text), _cut(text)) for text in self._texts[::step])
        if len(self._few) <= 6 or self._times:
            return self._spaced(sorted(self._few))
        inner = self._decades() if self._log else ticks(self._low, self._high)
        if self._whole:
            inner = [value for value in inner if value == int(value)]
        return tuple(Tick(self.y(value), short(value)) for value in inner)

    def _spaced(self, numbers: Sequence[float]) -> tuple[Tick, ...]:
        spaced: list[Tick] = []
        for number in (numbers[0], numbers[-1], *numbers[1:-1]):
            y = round(_BOTTOM - (_BOTTOM - _TOP) * self._share(number), 1)
            if all(abs(y - other.y) >= 15 for other in spaced):
                spaced.append(Tick(y, _cut(self._few[number])))
        return tuple(spaced)

    def _decades(self) -> list[float]:
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        every = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
        found = [float(f"{k * 10.0**power:.6g}") for power in range(first, last + 1) for k in every]
        return [value for value in found if self._low <= value <= self._high]


def _short(value: Any) -> str:
    return short(value) if isinstance(value, float) else parameter(value)


def _crowded(numbers: Sequence[float]) -> bool:
    """Whether half of the numbers are in the lowest fifth of their range: a log scale then separates them."""
    return numbers[len(numbers) // 2] - numbers[0] < 0.2 * (numbers[-1] - numbers[0])


def _cut(text: str) -> str:
    return text if len(text) <= 13 else text[:12] + "…"
