"""Baselines that a model must beat: the share, median or mean of all rows, or of rows with the same text."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.signature import Task
from tidemill.models.tabular.design_matrix import inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import AdditiveTerm, AdditiveTerms, Encoder, TabularRecipe, TargetMean
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.rows.row_losses import LINKS, USUAL, Measure

F64 = NDArray[np.float64]


class NaivePlan(msgspec.Struct, frozen=True, kw_only=True, tag_field="plan", tag="naive"):
    """One value for all rows, or with `by` one per text of that input (numbers and counts)."""

    task: Task
    measure: Measure
    by: str = ""

    @property
    def name(self) -> str:
        """`prior`, `median`, `mean`, or `median by zone`."""
        figure = {"binary": "prior", "classes": "prior", "count": "mean"}.get(self.task, "mean")
        figure = "median" if self.task == "number" and self.measure == "mae" else figure
        return f"{figure} by {self.by}" if self.by else figure

    def settings(self) -> dict[str, Any]:
        """Its settings by name, as JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def fit(self, examples: Examples, *, seed: int = 0) -> TabularModel:
        """The model with the values computed from these rows."""
        every = self.margin(examples.target, len(examples.classes))
        encoders: tuple[Encoder, ...] = ()
        terms: tuple[AdditiveTerm, ...] = ()
        bias = tuple(every.tolist())
        if self.by:
            encoder, term = self._of_text(examples, float(every[0]))
            encoders, terms, bias = (encoder,), (term,), (0.0,)
        recipe = TabularRecipe(
            task=self.task,
            target="",
            inputs=examples.fields,
            classes=examples.classes,
            encoders=encoders,
            members=(AdditiveTerms(name="naive", terms=terms, bias=bias),),
            weights=(1.0,),
            bias=(0.0,) * len(every),
            link=LINKS[self.task],
        )
        return TabularModel(recipe, {})

    def margin(self, target: F64, n_classes: int) -> F64:
        """float64 (k): the margin of all rows; a class that does not occur counts as half a row."""
        if self.task in ("binary", "classes"):
            k = 2 if self.task == "binary" else n_classes
            shares = (np.bincount(target.astype(np.int64), minlength=k) + 0.5) / (len(target) + 0.5 * k)
            return np.log(shares) if self.task == "classes" else np.asarray([np.log(shares[1] / shares[0])])
        figure = float(np.median(target) if self.measure == "mae" else target.mean())
        return np.asarray([np.log(max(figure, 0.5 / len(target))) if self.task == "count" else figure])

    def _of_text(self, examples: Examples, every: float) -> tuple[TargetMean, AdditiveTerm]:
        """The encoder with the value of each text, and the term that returns it unchanged."""
        column = inputs_of(examples.inputs, [one for one in examples.fields if one.name == self.by])[self.by]
        values = self.figures(column, examples.target)
        low, high = min([every, *values.values()]), max([every, *values.values()])
        knots = (low, high) if high > low else (low,)
        term = AdditiveTerm(column=0, knots=knots, values=tuple((knot,) for knot in knots), missing=(every,))
        return TargetMean(inputs=(self.by,), values=values, other=every), term

    def figures(self, column: pa.Array, target: F64) -> dict[str, float]:
        """Text -> margin, for texts with enough rows that nobody is recognised."""
        texts = column.fill_null("").dictionary_encode()
        codes = texts.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(texts.dictionary)))
        parts = np.split(target[order], ends[:-1])
        known = zip(texts.dictionary.to_pylist(), parts, strict=True)
        return {text: float(self.margin(part, 0)[0]) for text, part in known if len(part) >= FEWEST_USERS}


def naive_plan(task: Task, *, measure: Measure | None = None, by: str = "") -> NaivePlan:
    """The plan without inputs: prior, median (if absolute error is the metric), mean, or mean count.

    >>> naive_plan("number").name, naive_plan("count").name
    ('median', 'mean')
    """
    return NaivePlan(task=task, measure=measure or USUAL[task], by=by)
