"""Fitted scikit-learn column transformers as ONNX nodes in double precision, from their fitted attributes.

Texts become a lookup table: the fitted transformer is run on each text of the training rows, on a missing one and on an
unseen one, so that all its options are respected without knowing them. Numbers go through skl2onnx, but for imputers,
which ONNX Runtime has only in float32, and functions of NumPy.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import NotPublishable
from tidemill.training.tabular.publish.estimator_frame import UNSEEN, text_column
from tidemill.training.tabular.publish.onnx_estimators import converted
from tidemill.training.tabular.publish.onnx_nodes import MISSING_TEXT, OnnxNodes

#: Transformers that turn each text column into separate columns, by class name.
_OF_TEXTS = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder", "SimpleImputer", "CountEncoder", "WOEEncoder"}
#: NumPy functions -> ONNX operators.
_FUNCTIONS = {"log": "Log", "sqrt": "Sqrt", "exp": "Exp", "absolute": "Abs"}


class OnnxColumns:
    """Converts fitted preprocessing to nodes. `known` maps each text input to the texts of the training rows."""

    def __init__(self, nodes: OnnxNodes, known: Mapping[str, Sequence[str]]) -> None:
        self._nodes = nodes
        self._known = known

    def matrix(self, steps: Sequence[Any]) -> tuple[str, int]:
        """The matrix (n, width) that `steps` compute from the inputs, and its width."""
        names = [field.name for field in self._nodes.fields]
        first = steps[0] if steps else None
        if first is not None and hasattr(first, "transformers_"):
            made, steps = self._side_by_side(first), steps[1:]
        else:
            made = self._branch([], names)
        return self._numeric(steps, *made)

    def _side_by_side(self, transformer: Any) -> tuple[str, int]:
        known = [str(name) for name in transformer.feature_names_in_]
        parts = [
            self._branch(_steps(one), columns)
            for _, one, chosen in transformer.transformers_
            if (columns := _named(chosen, known)) and not (isinstance(one, str) and one == "drop")
        ]
        parts = [part for part in parts if part[1]]
        return self._nodes.matrix([name for name, _ in parts]), sum(width for _, width in parts)

    def _branch(self, steps: Sequence[Any], columns: Sequence[str]) -> tuple[str, int]:
        texts = [name for name in columns if name in self._known]
        if not texts:
            return self._numeric(steps, self._nodes.matrix(columns), len(columns))
        names = {type(step).__name__ for step in steps}
        if len(texts) != len(columns) or not names & _OF_TEXTS:
            raise _unknown(f"{' and '.join(sorted(names)) or 'passthrough'} of {', '.join(columns)}")
        return self._texts(steps, columns)

    # ---- texts

    def _texts(self, steps: Sequence[Any], columns: Sequence[str]) -> tuple[str, int]:
        """One table (texts + 2, its columns) per text column; the last rows are for a missing and an unseen text."""
        texts = {name: _with_categories(self._known[name], steps, at) for at, name in enumerate(columns)}
        first = [known[0] if known else UNSEEN for known in texts.values()]
        tables = [self._asked(steps, columns, first, at, texts[name]) for at, name in enumerate(columns)]
        moved = np.array([[_moves(column) for column in table.T] for table in tables])  # (n_columns, width)
        if (moved.sum(axis=0) > 1).any():
            raise _unknown(f"{type(steps[0]).__name__}, which mixes texts of several columns,")
        mine = np.where(moved.any(axis=0), moved.argmax(axis=0), 0)
        parts, order = [], []
        for at, name in enumerate(columns):
            own = np.flatnonzero(mine == at)
            if len(own):
                parts.append(self._looked_up(name, texts[name], tables[at][:, own]))
                order += own.tolist()
        matrix, back = self._nodes.matrix(parts), np.argsort(order)
        return (matrix if (np.diff(order) > 0).all() else self._nodes.take(matrix, back.tolist())), len(order)

    def _asked(
        self, steps: Sequence[Any], columns: Sequence[str], first: list[str], at: int, known: Sequence[str]
    ) -> NDArray[np.float64]:
        queries = [(*first[:at], text, *first[at + 1 :]) for text in known or first[at : at + 1]]
        rows = [_through(steps, columns, queries)]
        for odd in (None, UNSEEN):
            try:
                rows.append(_through(steps, columns, [(*first[:at], odd, *first[at + 1 :])]))
            except ValueError:  # the transformer rejects it: the value is NaN
                rows.append(np.full((1, rows[0].shape[1]), np.nan))
        return np.concatenate(rows if known else rows[1:])

    def _looked_up(self, name: str, known: Sequence[str], table: NDArray[np.float64]) -> str:
        texts = [*known, MISSING_TEXT]
        place = self._nodes.add(
            "LabelEncoder",
            [self._nodes.add("Reshape", [name, self._nodes.constant([-1], np.int64)])],
            domain="ai.onnx.ml",
            keys_strings=[text.encode() for text in texts],
            values_int64s=list(range(len(texts))),
            default_int64=len(texts),
        )
        return self._nodes.add("Gather", [self._nodes.constant(table), place], axis=0)

    # ---- numbers

    def _numeric(self, steps: Sequence[Any], matrix: str, width: int) -> tuple[str, int]:
        for step in steps:
            matrix, width = self._step(step, matrix, width)
        return matrix, width

    def _step(self, step: Any, matrix: str, width: int) -> tuple[str, int]:
        kind = type(step).__name__
        if kind == "SimpleImputer":
            return self._imputed(step, matrix)
        if kind == "FunctionTransformer":
            return self._function(step, matrix), width
        return converted(step, self._nodes, matrix, width)

    def _function(self, step: Any, matrix: str) -> str:
        if step.func is None:
            return matrix
        name = getattr(step.func, "__name__", "")
        if name == "log1p":
            matrix, name = self._nodes.add("Add", [matrix, self._nodes.constant(1.0)]), "log"
        if name not in _FUNCTIONS:
            raise _unknown(f"FunctionTransformer({name})")
        return self._nodes.add(_FUNCTIONS[name], [matrix])

    def _imputed(self, step: Any, matrix: str) -> tuple[str, int]:
        if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
            raise _unknown(f"SimpleImputer(missing_values={step.missing_values!r})")
        nodes, fill = self._nodes, np.asarray(step.statistics_, np.float64)
        missing = nodes.add("IsNaN", [matrix])
        filled = nodes.add("Where", [missing, nodes.constant(fill), matrix])
        kept = np.flatnonzero(~np.isnan(fill))
        width = len(kept)
        if width < len(fill):
            filled = nodes.take(filled, kept.tolist())
        if step.indicator_ is not None:
            flagged = step.indicator_.features_
            flags = nodes.add("Cast", [nodes.take(missing, flagged.tolist())], to=11)  # double
            filled, width = nodes.matrix([filled, flags]), width + len(flagged)
        return filled, width


def _steps(transformer: Any) -> list[Any]:
    """The steps of a pipeline, or the transformer alone; empty if it passes columns through."""
    steps = [step for _, step in transformer.steps] if hasattr(transformer, "steps") else [transformer]
    return [step for step in steps if step is not None and not (isinstance(step, str) and step == "passthrough")]


def _named(chosen: Any, known: list[str]) -> list[str]:
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice):
        return known[chosen]
    if len(chosen) and isinstance(chosen[0], bool | np.bool_):
        return [name for name, is_in in zip(known, chosen, strict=True) if is_in]
    return [one if isinstance(one, str) else known[int(one)] for one in chosen]


def _with_categories(known: Sequence[str], steps: Sequence[Any], at: int) -> list[str]:
    """The texts of the given rows, and those stored by a fitted encoder."""
    kept = [one for step in steps if hasattr(step, "categories_") for one in step.categories_[at]]
    return sorted({*known, *(one for one in kept if isinstance(one, str))})


def _through(steps: Sequence[Any], columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> NDArray[np.float64]:
    import pandas as pd  # noqa: PLC0415 - an optional library

    values: Any = pd.DataFrame({name: text_column([row[i] for row in rows]) for i, name in enumerate(columns)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unknown texts are passed on purpose
        for step in steps:
            values = step.transform(values)
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return np.asarray(dense, np.float64)


def _moves(column: NDArray[np.float64]) -> bool:
    return bool(((column != column[0]) & ~(np.isnan(column) & np.isnan(column[0]))).any())


def _unknown(what: str) -> NotPublishable:
    return NotPublishable(f"{what} cannot be converted to ONNX")
