"""Fitting of AutoML members in worker processes, with a deadline that the parent enforces.

A library cannot be interrupted during a step, so its process is killed; the members that are done by then are used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.core.processes.pool_task import TaskOutcome
from tidemill.core.processes.process_pool import ProcessPool
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.automl.cross_fit import MemberFit
from tidemill.training.tabular.automl.member_settings import Settings
from tidemill.training.tabular.rows.examples_file import read_examples, write_examples
from tidemill.training.tabular.rows.folds import Fold, folds_of
from tidemill.training.tabular.rows.row_losses import Measure
from tidemill.training.tabular.rows.table_columns import TableColumns, columns_of

F64 = NDArray[np.float64]


class FitJob(msgspec.Struct, frozen=True, kw_only=True):
    """The members that worker processes fit."""

    members: tuple[Settings, ...]
    measure: Measure
    seed: int


class FitResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one member."""

    settings: Settings
    state: str = "fitted"
    says: str = ""
    cpu_s: float = 0.0


@dataclass
class _MemberWork:
    """Fits one member; returns its final settings and its margins of the held-out rows."""

    file: Path
    measure: Measure
    seed: int

    @cached_property
    def rows(self) -> tuple[Examples, TableColumns, tuple[Fold, ...]]:
        """The examples, read once per process."""
        examples = read_examples(self.file)
        return examples, columns_of(examples), folds_of(examples, seed=self.seed)

    def __call__(self, settings: Settings, report: Callable[[None], None]) -> tuple[Settings, F64]:
        examples, columns, folds = self.rows
        member = MemberFit(examples, columns, settings, measure=self.measure, seed=self.seed)
        final, margins = member.open(folds)
        if not np.isfinite(margins).all():
            raise ArithmeticError("its margins contain NaN or infinity")
        return final, margins


def fit_members(
    examples: Examples,
    asked: FitJob,
    *,
    place: Path,
    seconds: float | None,
    processes: int = 1,
    told: Callable[[FitResult], None],
) -> list[tuple[FitResult, F64 | None]]:
    """Each member in order with its margins float64 (n_held, k) on the held-out rows, `None` if it has none.

    `late` members did not finish within `seconds`; `failed` ones raised or died. No process is left running.
    """
    until = None if seconds is None else time.monotonic() + seconds
    place.mkdir(parents=True, exist_ok=True)
    work = _MemberWork(place / "examples.arrow", asked.measure, asked.seed)
    write_examples(examples, work.file)
    late = TaskOutcome(state="late", says="stopped at the deadline")
    found = [_result(settings, late) for settings in asked.members]
    imports, log = [f"{__package__}.member_imports"], place / "workers.log"
    with ProcessPool(work, processes=processes, preload=imports, log=log) as pool:
        for number, outcome in pool.run(asked.members, until=until):
            found[number] = _result(asked.members[number], outcome)
            if outcome.state != "late":
                told(found[number][0])
    return found


def _result(settings: Settings, outcome: TaskOutcome) -> tuple[FitResult, F64 | None]:
    final, margins = outcome.value or (settings, None)
    state = "fitted" if outcome.state == "finished" else outcome.state
    return FitResult(settings=final, state=state, says=outcome.says, cpu_s=outcome.cpu_s), margins
