"""Cross-fitting: one member fitted on each fold, with out-of-fold margins for the held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.link_functions import apply_output_transform
from tidemill.models.tabular.recipe import Encoder
from tidemill.training.tabular.automl.catboost_member import fit_catboost
from tidemill.training.tabular.automl.gam import GamFit
from tidemill.training.tabular.automl.lightgbm_member import fit_lightgbm
from tidemill.training.tabular.automl.member_settings import Curves, FittedMember, Leafwise, Settings
from tidemill.training.tabular.rows.folds import Fold
from tidemill.training.tabular.rows.row_losses import Measure, row_losses
from tidemill.training.tabular.rows.table_columns import TableColumns
from tidemill.training.tabular.rows.table_encoding import EncodedTable, for_curves, for_leafwise, for_symmetric

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class MemberFit:
    """One member's settings on the rows of some examples, with its design matrix computed once."""

    def __init__(
        self, examples: Examples, columns: TableColumns, settings: Settings, *, measure: Measure, seed: int
    ) -> None:
        wanted = {"Curves": for_curves, "Leafwise": for_leafwise, "Symmetric": for_symmetric}[type(settings).__name__]
        self._examples, self._settings, self._measure, self._seed = examples, settings, measure, seed
        self._target = np.sqrt(examples.target) if settings.root else examples.target
        self._tabled = EncodedTable(examples, wanted(columns, examples), self._target)

    def settled(self, fit: I64, rounds: int) -> tuple[FittedMember, tuple[Encoder, ...]]:
        """The member fitted on the rows `fit` with `rounds` rounds, and the encoders of its columns."""
        design, encoders = self._tabled.learned_on(fit, seed=self._seed)
        return self._learn(self._settings, design, encoders, fit, None, rounds, self._seed), encoders

    def open(self, folds: Sequence[Fold]) -> tuple[Settings, F64]:
        """The settings with open ones resolved, and out-of-fold margins float64 (n_held, k), fold by fold."""
        if isinstance(self._settings, Curves):
            return self._ridges(self._settings, folds)
        rounds, margins = [], []
        for fold, (fit, held) in enumerate(folds):
            seed = self._seed + 1000 * fold
            design, encoders = self._tabled.learned_on(fit, seed=seed)
            against = self._tabled.rows(held, encoders)
            learnt = self._learn(self._settings, design, encoders, fit, (against, self._target[held]), None, seed)
            rounds.append(learnt.rounds)
            margins.append(self._turned(learnt.margins(against)))
        return msgspec.structs.replace(self._settings, rounds=tuple(rounds)), np.concatenate(margins)

    def _ridges(self, settings: Curves, folds: Sequence[Fold]) -> tuple[Settings, F64]:
        """The best penalty over all folds."""
        found: dict[float, list[F64]] = {ridge: [] for ridge in settings.ridges}
        for fold, (fit, held) in enumerate(folds):
            design, encoders = self._tabled.learned_on(fit, seed=self._seed + 1000 * fold)
            against = self._tabled.rows(held, encoders)
            curves = self._curves(settings, design, encoders, fit)
            for ridge in settings.ridges:
                found[ridge].append(self._turned(curves.fit(ridge).margins(against)))
        target = self._examples.target[np.concatenate([held for _, held in folds])]
        margins = {ridge: np.concatenate(mine) for ridge, mine in found.items()}
        losses = {
            ridge: row_losses(mine, target, self._examples.task, self._measure).mean()
            for ridge, mine in margins.items()
        }
        best = min(losses, key=lambda ridge: losses[ridge])
        return msgspec.structs.replace(settings, ridge=best), margins[best]

    def _turned(self, margins: F64) -> F64:
        then: Literal["square", ""] = "square" if self._settings.root else ""
        return apply_output_transform(margins, then)

    def _curves(self, settings: Curves, design: F64, encoders: Sequence[Encoder], fit: I64) -> GamFit:
        task, classes = self._examples.task, len(self._examples.classes)
        return GamFit(design, self._target[fit], encoders, task, self._measure, classes, settings)

    def _learn(
        self,
        settings: Settings,
        design: F64,
        encoders: Sequence[Encoder],
        fit: I64,
        held: tuple[F64, F64] | None,
        rounds: int | None,
        seed: int,
    ) -> FittedMember:
        task, measure, k = self._examples.task, self._measure, max(len(self._examples.classes), 1)
        target = self._target[fit]
        if isinstance(settings, Curves):
            return self._curves(settings, design, encoders, fit).fit(settings.ridge)
        if isinstance(settings, Leafwise):
            return fit_lightgbm(
                design, target, encoders, settings,
                task=task, measure=measure, n_classes=k, seed=seed, held=held, rounds=rounds,
            )  # fmt: skip
        return fit_catboost(
            design, target, settings, task=task, measure=measure, n_classes=k, seed=seed, held=held, rounds=rounds
        )
