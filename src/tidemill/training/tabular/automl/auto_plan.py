"""The AutoML plan as plain data: members, their rounds and weights. Fitting it does not depend on time limits."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np

from tidemill.core.records.signature import Task
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import Encoder, Member, TabularRecipe
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.automl.baselines import NaivePlan
from tidemill.training.tabular.automl.cross_fit import MemberFit
from tidemill.training.tabular.automl.member_settings import (
    Curves,
    FittedMember,
    Leafwise,
    Parts,
    Settings,
    Symmetric,
)
from tidemill.training.tabular.rows.row_losses import LINKS, Measure
from tidemill.training.tabular.rows.table_columns import columns_of

#: Factor for rounds: a fit on all rows has more rows than one on a fold, and supports more rounds.
MORE_ROUNDS = 1.1
_LIBRARY: dict[type, str] = {Leafwise: "lightgbm", Symmetric: "catboost"}


class AutoPlan(msgspec.Struct, frozen=True, kw_only=True, tag_field="plan", tag="auto"):
    """A weighted sum of members, each fitted on all rows."""

    task: Task
    measure: Measure
    members: tuple[Settings, ...]
    weights: tuple[float, ...]
    bias: tuple[float, ...]
    #: Seed of the folds and of the members when the plan was chosen.
    seed: int = 0
    #: Minimum probability for the positive class.
    threshold: float = 0.5
    #: Number of fits of each ensemble of trees, with different seeds, whose predictions are averaged.
    seeds: int = 1

    @property
    def name(self) -> str:
        """The member's name, or `stack of …`."""
        names = [member.name for member in self.members]
        return names[0] if len(names) == 1 else f"stack of {', '.join(names)}"

    def settings(self) -> dict[str, Any]:
        """Its settings by name, as JSON values; `plan_from` reads them."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def fit(self, examples: Examples, *, seed: int = 0) -> TabularModel:
        """The fitted model; the same rows and seed give the same bits."""
        columns = columns_of(examples)
        every = np.arange(len(examples))
        builder = _RecipeBuilder()
        for settings, weight in zip(self.members, self.weights, strict=True):
            times = 1 if isinstance(settings, Curves) else self.seeds
            for number in range(times):
                one = MemberFit(examples, columns, settings, measure=self.measure, seed=seed + 101 * number)
                learnt, encoders = one.settled(every, _rounds(settings))
                name = settings.name if times == 1 else f"{settings.name}_{number + 1}"
                builder.add(name, learnt, encoders, weight / times)
        return TabularModel(self._recipe(examples, builder), builder.parts)

    def _recipe(self, examples: Examples, made: _RecipeBuilder) -> TabularRecipe:
        never_negative = self.task == "number" and len(examples) > 0 and float(examples.target.min()) >= 0
        return TabularRecipe(
            task=self.task,
            target="",
            inputs=examples.fields,
            classes=examples.classes,
            encoders=tuple(made.encoders),
            members=tuple(made.members),
            weights=tuple(made.weights),
            bias=self.bias,
            link=LINKS[self.task],
            threshold=self.threshold,
            low=0.0 if never_negative else None,
            made_with={one: version(one) for one in sorted({_LIBRARY.get(type(m), "") for m in self.members} - {""})},
        )


class _RecipeBuilder:
    """Collects the lists of a recipe; a column that two members read is stored once."""

    def __init__(self) -> None:
        self.encoders: list[Encoder] = []
        self.members: list[Member] = []
        self.weights: list[float] = []
        self.parts: Parts = {}
        self._places: dict[bytes, int] = {}

    def add(self, name: str, learnt: FittedMember, encoders: tuple[Encoder, ...], weight: float) -> None:
        """Add a member with the encoders of its columns."""
        member, parts = learnt.written(name, tuple(self._place(encoder) for encoder in encoders))
        self.members.append(member)
        self.weights.append(weight)
        self.parts.update(parts)

    def _place(self, encoder: Encoder) -> int:
        key = msgspec.json.encode(encoder)
        if key not in self._places:
            self._places[key] = len(self.encoders)
            self.encoders.append(encoder)
        return self._places[key]


def _rounds(settings: Settings) -> int:
    if isinstance(settings, Curves):
        return 0
    return max(round(float(np.mean(settings.rounds)) * MORE_ROUNDS), 1)


def plan_from(settings: Mapping[str, Any]) -> AutoPlan | NaivePlan:
    """The plan with these stored settings, so that a run can be reproduced."""
    found: AutoPlan | NaivePlan = msgspec.convert(dict(settings), AutoPlan | NaivePlan)
    return found
