"""One trial, in this process or a worker: the request, reported values, pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from tidemill.core.errors import FigureRefused

#: Returns the value of settings; `report` takes the value so far, after each step, and may raise `TrialPruned`.
Objective = Callable[[dict[str, Any], Callable[[float], None]], float]


class TrialPruned(Exception):
    """Raised by `report`: the trial is so far worse than the median of earlier trials and is stopped."""


@dataclass(frozen=True)
class TrialRequest:
    """A trial to run. It is pruned if the mean of its first i values is below `bars[i - 1]`."""

    number: int
    parameters: dict[str, Any]
    bars: tuple[float, ...] = ()


@dataclass
class TrialReporter:
    """The reported values of a running trial."""

    bars: tuple[float, ...]
    told: Callable[[float], None]
    steps: list[float] = field(default_factory=list)

    def report(self, figure: float) -> None:
        """Record the value of the next step."""
        if not isfinite(figure):
            raise FigureRefused(f"step {len(self.steps) + 1} reported {figure}, which is not a finite number")
        self.steps.append(float(figure))
        self.told(self.steps[-1])
        done = len(self.steps)
        if done <= len(self.bars) and sum(self.steps) / done < self.bars[done - 1]:
            raise TrialPruned


@dataclass(frozen=True)
class TrialWork:
    """Runs a trial and returns the value of its objective, `None` if it was pruned."""

    objective: Objective

    def __call__(self, request: TrialRequest, told: Callable[[float], None]) -> float | None:
        try:
            value = float(self.objective(dict(request.parameters), TrialReporter(request.bars, told).report))
        except TrialPruned:
            return None
        if not isfinite(value):
            raise FigureRefused(f"the objective returned {value}, which is not a finite number")
        return value
