"""The Arrow schema of a frame, without evaluating it."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine


def frame_schema(engine: Engine, frame: nw.LazyFrame[Any]) -> pa.Schema:
    """The schema that `engine.collect(frame)` has. A frame with a type that Narwhals cannot name is evaluated."""
    try:
        schema: pa.Schema = frame.collect_schema().to_arrow()
    except (TypeError, ValueError, NotImplementedError):
        return engine.collect(frame.head(0)).schema
    return engine.collect(engine.frame(empty_table(schema))).schema
