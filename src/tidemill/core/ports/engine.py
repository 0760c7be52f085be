"""The port `engine`: where table functions run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa


class Engine(Protocol):
    """Query engine: evaluates table functions over Narwhals lazy frames."""

    name: str

    def scan(self, files: Sequence[str], schema: pa.Schema, origin: str | None = None) -> nw.LazyFrame[Any]:
        """A lazy frame over Parquet files; without files, an empty frame with this schema.

        `origin` names an additional column that holds the path of each row's file.
        """
        ...

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        """A lazy frame over rows in memory."""
        ...

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        """Evaluate a frame. The result has the same Arrow types with every engine.

        Text is `string`, every integer `int64`, every float `float64`, and a time `timestamp[us, UTC]`.
        """
        ...
