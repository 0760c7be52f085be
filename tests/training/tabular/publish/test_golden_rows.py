"""Golden rows: the odd ones are predicted in one call, and what an estimator rejects is found input by input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tabular_rows import made

from tidemill.training.tabular.publish.estimator_frame import UNSEEN
from tidemill.training.tabular.publish.parity import ODD_ROWS, golden_rows

NUMBER, TEXT = "age", "colour"
ROWS = made({NUMBER: np.arange(50) / 3, TEXT: ["red", "green"] * 25}, np.arange(50), "number")


def place(rows: pa.Table) -> NDArray[np.float64]:
    """A prediction that differs from row to row."""
    return np.array([len(repr(row)) + len(str(row[TEXT])) / 7 for row in rows.to_pylist()])


def test_all_odd_rows_are_one_call_with_the_predictions_of_each() -> None:
    asked: list[int] = []

    def ask(rows: pa.Table) -> NDArray[np.float64]:
        asked.append(len(rows))
        return place(rows)

    probe = golden_rows(ask, ROWS)
    assert asked == [50, 3 * ODD_ROWS]
    assert [one.words for one in probe.golden] == [
        "unchanged", f"with {NUMBER} missing", f"with {TEXT} missing", f"with {TEXT} never seen",
    ]  # fmt: skip
    for one in probe.golden:
        assert one.answers.tolist() == place(one.inputs).tolist()
    assert (probe.needs, probe.knows_only) == ((), ())


def test_what_is_rejected_is_named_and_the_rest_is_kept() -> None:
    def ask(rows: pa.Table) -> Any:
        if rows[TEXT].null_count:
            raise ValueError("missing")
        if pc.any(pc.equal(rows[TEXT], UNSEEN)).as_py():
            raise KeyError(UNSEEN)
        return place(rows)

    probe = golden_rows(ask, ROWS)
    assert (probe.needs, probe.knows_only) == ((TEXT,), (TEXT,))
    assert [one.words for one in probe.golden] == ["unchanged", f"with {NUMBER} missing"]
