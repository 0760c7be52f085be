"""The parity check: a published model is compared with the fitted one on rows, also with missing and new values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import ParityFailed
from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_bundle import rows_of
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.estimator_frame import UNSEEN

F64 = NDArray[np.float64]
#: Inputs -> the probability of the positive class (n), the probabilities (n, k), or the value (n).
Ask = Callable[[pa.Table], F64]
#: Number of unchanged rows to compare, and of rows in which one input is missing, or has an unseen text.
GOLDEN_ROWS, ODD_ROWS, SINGLE_ROWS = 1000, 10, 20
#: Tolerances of predictions, relative to the larger of the prediction and `_floor`.
DOUBLE, FLOAT32 = 1e-6, 1e-5
#: Probabilities below this are compared in absolute terms.
_SMALL = 0.1


@dataclass(frozen=True)
class ProbeRows:
    """Rows to compare on, with the predictions of the fitted object."""

    words: str
    inputs: pa.Table
    #: The index of each row in the examples.
    rows: NDArray[np.int64]
    answers: F64


@dataclass(frozen=True)
class LargestDifference:
    """The row with the largest difference between two models."""

    words: str
    row: int
    published: list[float]
    fitted: list[float]
    #: Relative to the tolerance; more than 1 is a failure.
    excess: float


@dataclass(frozen=True)
class ParityProbe:
    """Golden rows, and the inputs for which the fitted object rejects missing values or unseen texts."""

    golden: tuple[ProbeRows, ...]
    needs: tuple[str, ...]
    knows_only: tuple[str, ...]


def golden_rows(ask: Ask, examples: Examples) -> ParityProbe:
    """Up to `GOLDEN_ROWS` unchanged rows, and for each input some rows with it missing or, for a text, unseen."""
    places = np.unique(np.linspace(0, len(examples) - 1, min(GOLDEN_ROWS, len(examples))).astype(np.int64))
    inputs = examples.inputs.take(pa.array(places)).combine_chunks()
    numbers = places if examples.row is None else examples.row[places]
    found = [ProbeRows("unchanged", inputs, numbers, ask(inputs))]
    refused: dict[str, list[str]] = {"missing": [], "never seen": []}
    odd = list(_odd(inputs.slice(0, ODD_ROWS), examples.fields))
    answers = _accepted(ask, pa.concat_tables([rows for *_, rows in odd])) if odd else None  # one call for all
    for place, (name, how, rows) in enumerate(odd):
        first = place * len(rows)
        mine = _accepted(ask, rows) if answers is None else answers[first : first + len(rows)]
        if mine is None:
            refused[how].append(name)
        else:
            found.append(ProbeRows(f"with {name} {how}", rows, numbers[:ODD_ROWS], mine))
    return ParityProbe(tuple(found), tuple(refused["missing"]), tuple(refused["never seen"]))


def _accepted(ask: Ask, rows: pa.Table) -> F64 | None:
    """The predictions of the fitted object; `None` if it rejects one of the rows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown texts are passed on purpose
            return ask(rows.combine_chunks())
    except (ValueError, TypeError, KeyError):
        return None


def _odd(inputs: pa.Table, fields: Sequence[InputField]) -> Iterator[tuple[str, str, pa.Table]]:
    for place, field in enumerate(fields):
        kind = inputs.schema.field(place).type
        yield field.name, "missing", inputs.set_column(place, field.name, pa.nulls(len(inputs), kind))
        if field.kind == "str":
            texts = pa.array([UNSEEN] * len(inputs), kind)
            yield field.name, "never seen", inputs.set_column(place, field.name, texts)


def worst_of(model: TabularModel, golden: Sequence[ProbeRows], task: Task, tolerance: float) -> LargestDifference:
    """The row with the largest difference from the fitted model; some rows are also predicted one by one."""
    floor = _floor(golden[0].answers, task)
    return max((_worst(model, one, tolerance, floor) for one in golden), key=lambda worst: worst.excess)


def _floor(answers: F64, task: Task) -> float:
    if task in ("binary", "classes"):
        return _SMALL
    finite = np.abs(answers[np.isfinite(answers)])
    return max(float(finite.mean()) if len(finite) else 0.0, 1e-12)


def _worst(model: TabularModel, golden: ProbeRows, tolerance: float, floor: float) -> LargestDifference:
    published = model.answer(golden.inputs)
    singles = rows_of(model.inputs, golden.inputs.slice(0, SINGLE_ROWS))
    alone = np.asarray([model.predict_row(row) for row in singles]).reshape(len(singles), *published.shape[1:])
    off = _off(published, golden.answers, tolerance, floor)
    single = _off(alone, golden.answers[: len(singles)], tolerance, floor)
    one_by_one = bool(single.max(initial=0) > off.max(initial=0))
    at = int((single if one_by_one else off).argmax())
    answers, excess = (alone, single) if one_by_one else (published, off)
    words = f"{golden.words}, as a single row" if one_by_one else golden.words
    both = np.ravel(answers[at]).tolist(), np.ravel(golden.answers[at]).tolist()
    return LargestDifference(words, int(golden.rows[at]), *both, float(excess[at]))


def _off(published: F64, fitted: F64, tolerance: float, floor: float) -> F64:
    """float64 (n): difference over tolerance; infinite if only one side is NaN."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(published - fitted) / (tolerance * np.maximum(np.abs(fitted), floor))
    same = (published == fitted) | (np.isnan(published) & np.isnan(fitted))
    gap = np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))
    most: F64 = gap.reshape(len(gap), -1).max(axis=1)
    return most


def failed(name: str, worst: LargestDifference, tolerance: float) -> ParityFailed:
    """The error if no published form predicts like the fitted object."""
    return ParityFailed(
        f"{name} would predict differently once published: for row {worst.row} ({worst.words}) the published model "
        f"returns {_shown(worst.published)}, the fitted object {_shown(worst.fitted)}; the tolerance is {tolerance:g}",
        tip="fit on fewer decimals, or use a LightGBM estimator or tm.auto(), which are published exactly",
    )


def _shown(answer: list[float]) -> str:
    return ", ".join(f"{one:.9g}" for one in answer[:5])
