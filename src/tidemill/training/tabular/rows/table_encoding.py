"""Encodings of a table for each learner, and its design matrix with target statistics fitted within the fold.

A target mean fitted on the rows that are then trained on would leak their targets, so it is computed out of fold, from
the other fifths of the rows, as in scikit-learn's `TargetEncoder` (Micci-Barreca 2001 for the shrinkage).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.records.quality import FEWEST_USERS
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import CROSS, DatePart, Encoder, NumberColumn, OneHot, Ordinal, TargetMean
from tidemill.training.tabular.rows.table_columns import TableColumn, TableColumns, frequent_texts

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Maximum levels of a text for one-hot columns and for codes, and maximum classes whose share is fitted per text.
ONE_HOT, CODED, SHARES = 64, 255, 10
#: Prior rows with the overall mean, towards which the mean of a text is shrunk.
PRIOR_ROWS = 10.0
#: Texts with more levels than this are also combined in pairs, up to a maximum number of pairs.
_PAIRED_FROM, _PAIRED = 20, 4
_INNER_FOLDS = 5
_PARTS = ("hour", "weekday", "month", "day", "year")


@dataclass(frozen=True)
class TargetMeanOf:
    """An unfitted `TargetMean`: of the target, or of the share of the class number `of`."""

    inputs: tuple[str, ...]
    of: int | None = None


Wanted = Encoder | TargetMeanOf


def for_curves(columns: TableColumns, examples: Examples) -> tuple[Wanted, ...]:
    """Encodings for the GAM: numbers, parts of times, codes of texts, target means of high-cardinality texts."""
    found: list[Wanted] = []
    for column in columns.kept:
        if column.kind != "str":
            found += _plain(column, examples)
        elif len(column.levels) <= CODED:
            found.append(_code(column))
        else:
            found += _means((column.name,), examples)
    return tuple(found)


def for_leafwise(columns: TableColumns, examples: Examples) -> tuple[Wanted, ...]:
    """Encodings for LightGBM: codes of texts as native categories, target means of high-cardinality texts and pairs."""
    found: list[Wanted] = []
    for column in columns.kept:
        found += [_code(column)] if column.kind == "str" else _plain(column, examples)
        if len(column.levels) > ONE_HOT:
            found += _means((column.name,), examples)
    return (*found, *_pairs(columns, examples))


def for_symmetric(columns: TableColumns, examples: Examples) -> tuple[Wanted, ...]:
    """Encodings for CatBoost, numbers only: one-hot columns of a text, or target means at high cardinality."""
    found: list[Wanted] = []
    for column in columns.kept:
        if column.kind != "str":
            found += _plain(column, examples)
        elif len(column.levels) <= ONE_HOT:
            found += [OneHot(input=column.name, value=level) for level in column.levels[:ONE_HOT]]
            if column.n_missing or column.n_rare:
                found.append(OneHot(input=column.name, value=None, known=column.levels))
        else:
            found += _means((column.name,), examples)
    return (*found, *_pairs(columns, examples))


def _plain(column: TableColumn, examples: Examples) -> list[Wanted]:
    found: list[Wanted] = [NumberColumn(input=column.name)] if column.plain else []
    if column.kind == "time":
        values = inputs_of(examples.inputs, [field for field in examples.fields if field.name == column.name])
        parts = [DatePart(input=column.name, part=part) for part in _PARTS]  # type: ignore[arg-type]
        matrix = design_of(values, parts, len(examples))
        found += [part for part, here in zip(parts, matrix.T, strict=True) if np.nanmax(here) > np.nanmin(here)]
    return found


def _code(column: TableColumn) -> Ordinal:
    return Ordinal(input=column.name, codes={level: place for place, level in enumerate(column.levels[:CODED])})


def _means(names: tuple[str, ...], examples: Examples) -> list[TargetMeanOf]:
    if examples.task != "classes":
        return [TargetMeanOf(names)]
    return [TargetMeanOf(names, of) for of in range(min(len(examples.classes), SHARES))]


def _pairs(columns: TableColumns, examples: Examples) -> list[TargetMeanOf]:
    """Pairs of high-cardinality texts: a trip is its two ends together."""
    many = [column.name for column in columns.texts if len(column.levels) > _PAIRED_FROM][:_PAIRED]
    return [] if examples.task == "classes" else [TargetMeanOf(pair) for pair in combinations(many, 2)]


class EncodedTable:
    """The design matrix of rows for one list of encoders; columns that need no target are computed once."""

    def __init__(self, examples: Examples, wanted: Sequence[Wanted], target: F64) -> None:
        self.wanted, self._target = tuple(wanted), target
        inputs = inputs_of(examples.inputs, examples.fields)
        settled = [one for one in wanted if not isinstance(one, TargetMeanOf)]
        self._fixed = design_of(inputs, settled, len(examples))  # (n, n_settled)
        self._texts = {one.inputs: _coded(inputs, one.inputs) for one in wanted if isinstance(one, TargetMeanOf)}

    def learned_on(self, fit: I64, *, seed: int) -> tuple[F64, tuple[Encoder, ...]]:
        """The design matrix of the rows `fit` with out-of-fold target means, and the encoders for all other rows."""
        inner = np.random.default_rng(seed).permutation(len(fit)) % _INNER_FOLDS
        columns: list[F64] = []
        encoders: list[Encoder] = []
        place = 0
        for one in self.wanted:
            if isinstance(one, TargetMeanOf):
                keys, codes, frequent = self._texts[one.inputs]
                kept, target = _kept(one, codes[fit], frequent), self._of(one)[fit]
                columns.append(_apart(codes[fit], target, kept, inner))
                encoders.append(_mean(one, keys, codes[fit], target, kept))
            else:
                columns.append(self._fixed[fit, place])
                encoders.append(one)
                place += 1
        return _matrix(columns, len(fit)), tuple(encoders)

    def rows(self, places: I64, encoders: Sequence[Encoder]) -> F64:
        """The design matrix of other rows, with the target means in `encoders`."""
        columns, place = [], 0
        for one, encoder in zip(self.wanted, encoders, strict=True):
            if isinstance(one, TargetMeanOf):
                assert isinstance(encoder, TargetMean)
                keys, codes, _ = self._texts[one.inputs]
                figures = np.asarray([encoder.values.get(key, encoder.other) for key in keys])
                columns.append(figures[codes[places]])
            else:
                columns.append(self._fixed[places, place])
                place += 1
        return _matrix(columns, len(places))

    def _of(self, one: TargetMeanOf) -> F64:
        return self._target if one.of is None else (self._target == one.of).astype(np.float64)


def _matrix(columns: list[F64], n: int) -> F64:
    return np.column_stack(columns) if columns else np.empty((n, 0))


def _coded(inputs: dict[str, pa.Array], names: tuple[str, ...]) -> tuple[list[str], I64, NDArray[np.bool_]]:
    """The combined keys of texts, as in `TargetMean`, the code of each row, and which keys have no rare text."""
    keys: list[str] = [""]
    frequent = np.ones(1, np.bool_)
    codes = np.zeros(len(inputs[names[0]]), np.int64)
    for name in names:
        texts = inputs[name].fill_null("").dictionary_encode()
        known = texts.dictionary.to_pylist()
        codes = codes * len(known) + texts.indices.to_numpy(zero_copy_only=False)
        occurring, codes = np.unique(codes, return_inverse=True)
        before = [divmod(place, len(known)) for place in occurring.tolist()]
        often = np.isin(np.asarray(known, object), [*frequent_texts(inputs[name])[0], ""])
        frequent = np.asarray([frequent[there] and often[here] for there, here in before])
        keys = [known[here] if name == names[0] else keys[there] + CROSS + known[here] for there, here in before]
    return keys, codes, frequent


def _kept(one: TargetMeanOf, codes: I64, frequent: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which keys get a mean of their own: frequent texts, and pairs of two frequent texts that occur."""
    fewest = FEWEST_USERS if len(one.inputs) == 1 else 1
    return np.asarray(frequent & (np.bincount(codes, minlength=len(frequent)) >= fewest))


def _figures(codes: I64, target: F64, kept: NDArray[np.bool_]) -> tuple[F64, float]:
    """The shrunk mean of each key, of those that are not `kept` the overall mean, and the overall mean."""
    overall = float(target.mean()) if len(target) else 0.0
    counts = np.bincount(codes, minlength=len(kept))
    sums = np.bincount(codes, weights=target, minlength=len(kept))
    return np.where(kept, (sums + PRIOR_ROWS * overall) / (counts + PRIOR_ROWS), overall), overall


def _apart(codes: I64, target: F64, kept: NDArray[np.bool_], inner: I64) -> F64:
    found = np.empty(len(codes))
    for fold in range(_INNER_FOLDS):
        mine = inner == fold
        found[mine] = _figures(codes[~mine], target[~mine], kept)[0][codes[mine]]
    return found


def _mean(one: TargetMeanOf, keys: list[str], codes: I64, target: F64, kept: NDArray[np.bool_]) -> TargetMean:
    figures, overall = _figures(codes, target, kept)
    values = {key: float(figure) for key, figure, here in zip(keys, figures, kept, strict=True) if here}
    return TargetMean(inputs=one.inputs, values=values, other=overall)
