"""Target leakage: inputs that reveal the target, inputs from the future, and rows in both train and test.

Each warning names the column, its numbers and the remedy. The checks are independent of each other. Kinds and cases:
Kapoor & Narayanan (2023), "Leakage and the reproducibility crisis in machine-learning-based science".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.assess.single_input_score import floats_of, single_input_score
from tidemill.training.tabular.rows.dataset_fingerprint import row_hashes
from tidemill.training.tabular.rows.splits import Split

Mask = npt.NDArray[np.bool_]
U64 = npt.NDArray[np.uint64]

#: An input that alone reaches this score reveals the target; one that is far ahead of all others is suspect.
KNOWS, SUSPECTED, AHEAD = 0.99, 0.95, 0.15
#: Presence (or absence) of a value is suspect if one class has this share of it, at odds this much higher than usual.
SIGN, ODDS, SIGN_ROWS = 0.98, 15.0, 30
#: Share of the variance of a number that the presence of a value explains.
SIGN_EXPLAINED = 0.5
#: Shares above which late times, copies and distinct values are reported.
LATER, COPIED, ID = 0.001, 0.01, 0.9
#: Equal inputs are copies if they share the target in this share of their pairs, and chance explains less than a tenth.
AGREED, CHANCE = 0.95, 0.1
#: Inputs that occur exactly twice are taken alone if there are this many: many copies of one row outweigh no others.
FEWEST_TWICE = 30


def target_leakage(examples: Examples, split: Split) -> tuple[str, ...]:
    """All warnings about these rows and their split."""
    train = examples.take(split.train)
    return (
        *knows_the_answer(train),
        *presence_tells(train),
        *later_than_the_row(examples),
        *names_of_rows(train),
        *copies(examples, split),
        *split.warnings,
    )


def knows_the_answer(train: Examples) -> list[str]:
    """Inputs that alone predict the target, measured on held-out rows."""
    found = {field.name: single_input_score(field, train.inputs[field.name], train) for field in train.fields}
    ranked = sorted(found.values(), reverse=True)
    second = ranked[1] if len(ranked) > 1 else 0.5
    said = []
    for name, value in found.items():
        figure = f"{'R2' if train.task in ('number', 'count') else 'AUC'} {value:.3f}"
        if value > KNOWS:
            equal = ": it is the target" if _equal(train.inputs[name], train) else ""
            said.append(
                f"`{name}` alone predicts the target ({figure}{equal}): it is probably derived from the target, or "
                "known only after it. Leave it out, or declare when it is known"
            )
        elif train.task == "binary" and value > SUSPECTED and value - second > AHEAD and len(found) > 2:
            said.append(
                f"`{name}` alone almost predicts the target ({figure}; the next best input has {second:.3f}): make "
                "sure that it is known before the prediction is requested, or leave it out"
            )
    return said


def _equal(column: Any, train: Examples) -> bool:
    if pa.types.is_string(column.type):
        return False
    return bool(np.array_equal(floats_of(column), train.target))


def presence_tells(train: Examples) -> list[str]:
    """Inputs that are present, or missing, almost only with one class: recorded once the target is known."""
    said = []
    for field in train.fields:
        there = pc.is_valid(train.inputs[field.name]).to_numpy().astype(bool)
        if min(there.sum(), (~there).sum()) < SIGN_ROWS:
            continue
        found = _explained(field, there, train) if train.task in ("number", "count") else _of_class(field, there, train)
        if found:
            said.append(f"{found}: it seems to be recorded only once the target is known. Leave it out")
    return said


def _of_class(field: InputField, there: Mask, train: Examples) -> str:
    for word, rows in (("has a value", there), ("is missing", ~there)):
        n = int(rows.sum())
        for kind in np.unique(train.target):
            share, usual = float((train.target[rows] == kind).mean()), float((train.target == kind).mean())
            count = share * n
            odds = ((count + 0.5) / (n - count + 0.5)) / (usual / max(1 - usual, 1e-9))
            if share >= SIGN and odds >= ODDS:
                name = train.classes[int(kind)] if train.classes else f"{kind:g}"
                return (
                    f"where `{field.name}` {word} ({n:,} of {len(train):,} rows), the target is {name} in {share:.1%}, "
                    f"compared with {usual:.1%} of all rows"
                )
    return ""


def _explained(field: InputField, there: Mask, train: Examples) -> str:
    total = train.target.var()
    share = float(there.mean())
    apart = float(train.target[there].mean() - train.target[~there].mean())
    explained = share * (1 - share) * apart**2 / total if total > 0 else 0.0
    if explained < SIGN_EXPLAINED:
        return ""
    return (
        f"whether `{field.name}` has a value ({share:.1%} of the rows) explains {explained:.0%} of the variance of the "
        "target"
    )


def later_than_the_row(examples: Examples) -> list[str]:
    """Time inputs that are later than the row's own time."""
    if examples.time is None:
        return []
    said = []
    for field in examples.fields:
        if field.kind != "time":
            continue
        column = examples.inputs[field.name]
        there = pc.is_valid(column).to_numpy().astype(bool)
        at = pc.fill_null(column.cast(pa.int64()), 0).to_numpy().astype(np.int64)
        later = there & (at > examples.time)
        n = int(later.sum())
        if n > max(2, LATER * max(int(there.sum()), 1)):
            median = float(np.median((at - examples.time)[later])) / 3_600e6
            said.append(
                f"`{field.name}` is later than the row's own time in {n:,} of {int(there.sum()):,} rows (by "
                f"{median:,.1f} hours in the median): unless it is a date that was planned beforehand, it comes from "
                "the future. Leave it out, or use its value as known at the row's time"
            )
    return said


def names_of_rows(train: Examples) -> list[str]:
    """ID columns among the inputs: nearly unique texts, and consecutive whole numbers."""
    said = []
    for field in train.fields:
        if field.kind not in ("str", "int"):
            continue
        column = pc.drop_null(train.inputs[field.name])
        distinct = pc.count_distinct(column).as_py()
        if len(column) < 100 or distinct <= ID * len(column):
            continue
        if field.kind == "int":
            ends = pc.min_max(column).as_py()
            if ends["max"] - ends["min"] + 1 > 2 * len(train):
                continue
        said.append(
            f"`{field.name}` has {distinct:,} values in {len(column):,} rows: it looks like an ID column. Leave "
            "it out, or derive features from it"
        )
    return said


def copies(examples: Examples, split: Split) -> list[str]:
    """Test rows that are exact copies of training rows, where equal inputs nearly always have the same target.

    Elsewhere they are repeated measurements of few inputs, which is no fault.
    """
    rows = row_hashes(examples)
    same = np.isin(rows[split.test], rows[split.train])
    if same.mean() <= COPIED:
        return []
    agreed = _agreement(row_hashes(examples, target=False), rows)
    chance = float(np.square(np.unique(examples.target, return_counts=True)[1] / len(rows)).sum())
    if agreed < AGREED or 1 - agreed > CHANCE * (1 - chance):
        return []
    return [
        f"{int(same.sum()):,} of {len(same):,} test rows ({same.mean():.1%}) are exact copies of training rows, and "
        f"rows with equal inputs share the target in {agreed:.0%} of their pairs: the same cases seem to be recorded "
        "more than once. Keep one row of each case, or the metrics are too good"
    ]


def _agreement(inputs: U64, rows: U64) -> float:
    """Share of the pairs of rows with equal inputs that have the same target too; zero without such pairs."""
    _, code, n = np.unique(inputs, return_inverse=True, return_counts=True)
    if (n == 2).sum() >= FEWEST_TWICE:
        counted = n[code] == 2
        n, rows = n[n == 2], rows[counted]
    alike = np.unique(rows, return_counts=True)[1]
    pairs = float((n * (n - 1)).sum())
    return float((alike * (alike - 1)).sum()) / pairs if pairs else 0.0
