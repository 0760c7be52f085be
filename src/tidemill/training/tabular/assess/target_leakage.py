"""Target leakage: inputs that reveal the target, inputs from the future, and rows in both train and test.

Each sentence names the column, its numbers and what to do. What looks for one thing stands by itself; where there is
nothing to say, nothing is said. Kinds and cases: Kapoor & Narayanan (2023), "Leakage and the reproducibility crisis in
machine-learning-based science".
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

#: One input alone that ranks, or explains, this well knows the answer; one far ahead of all others is suspected.
KNOWS, SUSPECTED, AHEAD = 0.99, 0.95, 0.15
#: A value that is there (or missing) is a sign where one class has this share of it, at odds so much higher than usual.
SIGN, ODDS, SIGN_ROWS = 0.98, 15.0, 30
#: Share of the spread of numbers that the presence of a value explains.
SIGN_EXPLAINED = 0.5
#: Shares from which on later times, copies, and distinct values are spoken of.
LATER, COPIED, DISTINCT, ID = 0.001, 0.01, 0.3, 0.9


def target_leakage(examples: Examples, split: Split) -> tuple[str, ...]:
    """Every sentence about these rows and their split."""
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
    """Inputs that foretell the target alone, measured on rows that were not used to learn how."""
    found = {field.name: single_input_score(field, train.inputs[field.name], train) for field in train.fields}
    ranked = sorted(found.values(), reverse=True)
    second = ranked[1] if len(ranked) > 1 else 0.5
    said = []
    for name, value in found.items():
        figure = f"{'R2' if train.task in ('number', 'count') else 'AUC'} {value:.3f}"
        if value > KNOWS:
            equal = ": it is the target" if _equal(train.inputs[name], train) else ""
            said.append(
                f"`{name}` alone foretells the answer ({figure}{equal}): it is probably made from it, or known only "
                "after it; leave it out, or say from when it is known"
            )
        elif train.task == "binary" and value > SUSPECTED and value - second > AHEAD and len(found) > 2:
            said.append(
                f"`{name}` alone nearly foretells the answer ({figure}; the next best input has {second:.3f}): make "
                "sure that it is known before the answer is asked for, or leave it out"
            )
    return said


def _equal(column: Any, train: Examples) -> bool:
    if pa.types.is_string(column.type):
        return False
    return bool(np.array_equal(floats_of(column), train.target))


def presence_tells(train: Examples) -> list[str]:
    """Inputs that are there, or missing, almost only with one answer: they are written down when it is known."""
    said = []
    for field in train.fields:
        there = pc.is_valid(train.inputs[field.name]).to_numpy().astype(bool)
        if min(there.sum(), (~there).sum()) < SIGN_ROWS:
            continue
        found = _explained(field, there, train) if train.task in ("number", "count") else _of_class(field, there, train)
        if found:
            said.append(f"{found}: it seems to be written down only when the answer is known; leave it out")
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
                    f"where `{field.name}` {word} ({n:,} of {len(train):,} rows), the answer is {name} in {share:.1%}, "
                    f"against {usual:.1%} of all rows"
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
        f"whether `{field.name}` has a value ({share:.1%} of the rows) explains {explained:.0%} of the target's spread"
    )


def later_than_the_row(examples: Examples) -> list[str]:
    """Inputs that are times later than the row's own."""
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
                f"{median:,.1f} hours in the median): unless it is a date that was set beforehand, it comes from the "
                "future; leave it out, or take it as it was known at the row's time"
            )
    return said


def names_of_rows(train: Examples) -> list[str]:
    """Inputs that name a row instead of describing it: nearly unique texts, and whole numbers that count."""
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
            f"`{field.name}` has {distinct:,} values in {len(column):,} rows: it names rows and describes none; leave "
            "it out, or make features of it"
        )
    return said


def copies(examples: Examples, split: Split) -> list[str]:
    """Test rows whose inputs and target also stand in a row that was learned from, where rows are rich enough."""
    hashes = row_hashes(examples)
    train, test = hashes[split.train], hashes[split.test]
    same = np.isin(test, train)
    rich = len(np.unique(hashes)) > DISTINCT * len(hashes)
    if not rich or same.mean() <= COPIED:
        return []
    return [
        f"{int(same.sum()):,} of {len(test):,} test rows ({same.mean():.1%}) are copies of rows that were learned "
        "from, with every input and the target: keep one of each before splitting, or the figures are too good"
    ]
