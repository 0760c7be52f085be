"""Polars keeps the engine's promises."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tidemill.backends.polars import PolarsEngine
from tidemill.core.ports import Engine
from tidemill.testing.engine import EngineSuite


class TestPolars(EngineSuite):
    @pytest.fixture
    def engine(self) -> Engine:
        return PolarsEngine()


def test_rows_that_are_no_table_are_refused() -> None:
    with pytest.raises(TypeError, match="Arrow table"):
        PolarsEngine().frame(pa.array([1, 2]))
