"""Columns whose names are also names of Python or of tidemill."""

from __future__ import annotations

from datetime import datetime

import tidemill as tm


def test_a_column_that_is_called_like_an_attribute_of_the_class_is_kept() -> None:
    class Row(tm.Event):
        contract: str
        mro: float | None = None
        name: str = tm.item()
        index: int = 3
        at: datetime = tm.event_time(zone="UTC")

    class Longer(Row):
        contract: str = "month"  # type: ignore[assignment]
        more: bool

    assert Row.contract.names == ["contract", "mro", "name", "index", "at"]
    found = {column.name: (column.kind, column.optional, column.default) for column in Longer.contract.columns}
    assert found["contract"] == ("str", True, "month")
    assert found["mro"] == ("float", True, None)
    assert found["more"] == ("bool", False, None)
    assert Row.contract["contract"].default is None
