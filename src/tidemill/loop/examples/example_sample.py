"""A sample of training examples: whole groups, or rows; always the same ones, on every engine."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import ROW
from tidemill.core.errors import GraphError
from tidemill.core.ports import Engine
from tidemill.features.frame_schema import frame_schema
from tidemill.loop.project.declarations import TabularDeclaration

#: A prime below 2**31, so that products of two numbers below it fit 64 bits.
_PRIME = 2_147_483_647


def sample_examples(
    engine: Engine, frame: nw.LazyFrame[Any], model: TabularDeclaration, parts: int
) -> nw.LazyFrame[Any]:
    """The share `model.sample` of the examples, by a fixed hash of the group, else of `_row`.

    Raises `GraphError` if the examples have neither.
    """
    if model.sample == 1:
        return frame
    if model.group is not None:
        chosen = GroupSample(model.group, model.sample)
        return engine.map_parts([frame], [model.group], parts, chosen, frame_schema(engine, frame))
    if ROW not in frame.collect_schema().names():
        raise GraphError(
            f"model {model.name!r}: sample={model.sample:g} needs a key by which the same examples are drawn each time",
            tip=f"declare group=, or keep {ROW} in {model.examples!r}",
        )
    first = nw.col(ROW) % _PRIME
    second = (first * 1_103_515_245 + 12_345) % _PRIME
    third = (second * second + first) % _PRIME
    return frame.filter((third * 48_271) % _PRIME < round(model.sample * _PRIME))


@dataclass(frozen=True)
class GroupSample:
    """The rows of the groups that a fixed hash selects."""

    group: str
    share: float

    def __call__(self, rows: pa.Table) -> pa.Table:
        codes = rows[self.group].combine_chunks().dictionary_encode()
        drawn = [zlib.crc32(str(value).encode()) < self.share * 2**32 for value in codes.dictionary.to_pylist()]
        places = pc.fill_null(codes.indices, len(drawn)).to_numpy(zero_copy_only=False)
        return rows.filter(pa.array(np.array([*drawn, True])[places]))  # rows without a group are no group
