"""A tabular model in memory: predictions for a table, or for one row without building a table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import structs

from tidemill.models.tabular.additive_member import AdditiveMember
from tidemill.models.tabular.contributions import contributions
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.link_functions import (
    apply_link,
    apply_link_one,
    apply_output_transform,
    apply_output_transform_one,
)
from tidemill.models.tabular.oblivious_trees import ObliviousMember
from tidemill.models.tabular.onnx_member import OnnxMember
from tidemill.models.tabular.recipe import (
    AdditiveTerms,
    Member,
    ObliviousTreesMember,
    OnnxGraphMember,
    TabularRecipe,
    TreesMember,
)
from tidemill.models.tabular.recipe_validation import check_recipe
from tidemill.models.tabular.row_model import F64, RowModel
from tidemill.models.tabular.single_row_design import row_design
from tidemill.models.tabular.tree_member import TreeMember

#: ONNX graphs compute in float32, whose last digits differ between machines.
FLOAT32 = 1e-5
#: File name -> content: the text or graph as bytes, arrays as arrays.
Parts = Mapping[str, Any]


class TabularModel(RowModel):
    """Encoders, members and a weighted sum, as described by `recipe`, over the contents of its files.

    Can be shared between threads, pickled for another process, and written with `write_tabular`. Raises
    `BundleCorrupt` if recipe and parts do not match.

    >>> from tidemill.core.records.signature import InputField
    >>> from tidemill.models.tabular.recipe import AdditiveTerms, NumberColumn, TabularRecipe, AdditiveTerm
    >>> curve = AdditiveTerm(column=0, knots=(0.0, 10.0), values=((1.0,), (2.0,)), missing=(1.5,))
    >>> recipe = TabularRecipe(
    ...     task="number", target="price", inputs=(InputField(name="size", kind="float"),),
    ...     encoders=(NumberColumn(input="size"),), members=(AdditiveTerms(name="a", terms=(curve,), bias=(0.0,)),),
    ...     weights=(1.0,), bias=(0.0,), link="identity",
    ... )
    >>> TabularModel(recipe, {}).predict_row([5.0])
    [1.5]
    """

    def __init__(self, recipe: TabularRecipe, parts: Parts) -> None:
        check_recipe(recipe, parts)
        self.recipe, self.parts = recipe, dict(parts)
        self.inputs, self.task, self.classes, self.threshold = (
            recipe.inputs, recipe.task, recipe.classes, recipe.threshold,
        )  # fmt: skip
        if any(isinstance(member, OnnxGraphMember) for member in recipe.members):
            self.tolerance = FLOAT32
        #: Number of margins per row: one, or one per class (for two classes also one).
        self.k = len(recipe.bias)
        self.members = [self._member(member) for member in recipe.members]
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return TabularModel, (self.recipe, self.parts)

    def _member(self, member: Member) -> Any:
        if isinstance(member, TreesMember):
            return TreeMember(member, bytes(self.parts[member.file]), self.k)
        if isinstance(member, ObliviousTreesMember):
            return ObliviousMember(member, self.parts)
        if isinstance(member, AdditiveTerms):
            return AdditiveMember(member)
        return OnnxMember(member, bytes(self.parts[member.file]), self.k, self.recipe.inputs)

    def margins(self, inputs: pa.Table) -> F64:
        """float64 (n, k): the weighted sum of the members, before the link."""
        found = self.member_margins(inputs)
        total = np.tile(np.asarray(self.recipe.bias, np.float64), (len(inputs), 1))
        for weight, margins in zip(self.recipe.weights, found, strict=True):
            total += weight * margins
        return total

    def member_margins(self, inputs: pa.Table) -> list[F64]:
        """Each member's margins float64 (n, k), after its transform and before its weight."""
        columns = inputs_of(inputs, self.recipe.inputs)
        design = design_of(columns, self.recipe.encoders, len(inputs))
        return [
            apply_output_transform(member.margins(design, columns), about.then)
            for member, about in zip(self.members, self.recipe.members, strict=True)
        ]

    def answer(self, inputs: pa.Table) -> F64:
        """The probability of the positive class (n), probabilities (n, k), or the value (n)."""
        found = apply_link(self.margins(inputs), self.recipe.link)
        if self.recipe.task == "classes":
            return found if self.k > 1 else np.column_stack([1.0 - found, found])
        return self._cut(found[:, 0]) if self.recipe.task in ("number", "count") else found[:, 0]

    def _cut(self, values: F64) -> F64:
        low, high = self.recipe.low, self.recipe.high
        return values if low is None and high is None else np.clip(values, low, high)

    def predict_row(self, values: Sequence[Any]) -> list[float]:
        """See `RowModel`; no table is built."""
        try:
            engine: Callable[[Sequence[Any]], list[float]] = self._of_thread.engine
        except AttributeError:
            engine = self._of_thread.engine = self._row_engine()
        return engine(values)

    def _row_engine(self) -> Callable[[Sequence[Any]], list[float]]:
        """The function that predicts single rows in one thread, because its members own buffers."""
        design = row_design(self.recipe.inputs, self.recipe.encoders)
        link, finish, bias = apply_link_one(self.recipe.link), self._finish_one(), list(self.recipe.bias)
        steps = [
            (member.row(), weight, apply_output_transform_one(about.then))
            for member, weight, about in zip(self.members, self.recipe.weights, self.recipe.members, strict=True)
        ]

        def answer(values: Sequence[Any]) -> list[float]:
            row, total = design(values), bias
            for of_row, weight, turn in steps:
                found = of_row(row, values)
                if turn is not None:
                    found = [turn(margin) for margin in found]
                total = [so_far + weight * margin for so_far, margin in zip(total, found, strict=True)]
            return finish(link(total))

        return answer

    def _finish_one(self) -> Callable[[list[float]], list[float]]:
        low, high = self.recipe.low, self.recipe.high
        if self.recipe.task == "classes" and self.k == 1:
            return lambda answer: [1.0 - answer[0], answer[0]]
        if self.recipe.task not in ("number", "count") or (low is None and high is None):
            return lambda answer: answer
        least, most = -np.inf if low is None else low, np.inf if high is None else high
        return lambda answer: [min(max(answer[0], least), most)]

    def explain(self, inputs: pa.Table) -> tuple[F64, F64]:
        """The contribution of each input to the margin: float64 (n, n_inputs), and the base (n).

        SHAP values (Lundberg and Lee 2017), exact for the members: base + sum = margin. With several classes, the
        margin is that of the predicted one. Raises `NotExplained` for members without SHAP values, such as ONNX graphs.
        """
        return contributions(self.recipe, self.members, inputs)

    def named(self, target: str) -> TabularModel:
        """The same model with the target's name in its recipe."""
        return TabularModel(structs.replace(self.recipe, target=target), self.parts) if target else self
