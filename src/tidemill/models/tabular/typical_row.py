"""A typical row: the middle number and a frequent text of each input, from the golden rows of a bundle."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill.models.tabular.tabular_bundle import UNSEEN_TEXT, read_golden


def typical_row_of(bundle: Path) -> dict[str, Any]:
    """The typical row of a bundle, empty if it has no golden rows; `BundleCorrupt` if they cannot be read."""
    return typical_row(read_golden(bundle)[0])


def typical_row(golden: pa.Table) -> dict[str, Any]:
    """A value for each column of golden rows, as JSON has it: times in ISO 8601. It is the row of nobody, as they are.

    >>> typical_row(pa.table({"age": [20, 30, 90], "plan": ["a", "b", "b"]}))
    {'age': 30, 'plan': 'b'}
    """
    found: dict[str, Any] = {}
    for name in golden.column_names:
        values = [value for value in golden[name].to_pylist() if value is not None and value != UNSEEN_TEXT]
        if not values:
            continue
        if isinstance(values[0], str | bool):
            found[name] = min(Counter(values).items(), key=lambda one: (-one[1], one[0]))[0]
            continue
        middle = sorted(values)[len(values) // 2]
        if isinstance(middle, float):
            found[name] = float(f"{middle:.4g}")
        else:
            found[name] = middle if isinstance(middle, int) else middle.isoformat()
    return found
