"""The port `engine`: where table functions run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def sql(self, query: str, frames: Mapping[str, nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        """The result of a SELECT, without a semicolon, over this engine's frames by their names in it.

        Nulls come first where the order rises; times are UTC; a decimal number is an integer if its type has no
        fraction, else a float. Raises `BackendMissing` without the engine's SQL library.
        """
        ...

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        """Evaluate a frame. The result has the same Arrow types with every engine.

        Text is `string`, every integer `int64`, every float `float64`, and a time `timestamp[us, UTC]`.
        """
        ...
