"""Training examples: inputs by name, target, time and group of each row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.records.signature import InputField, Task


@dataclass(frozen=True, eq=False)
class Examples:
    """`n` rows. `inputs` has one column for each of `fields`, in their order; missing values are null.

    A `number` is float64, `whole` int64, `flag` bool, `text` string, `time` timestamp[us, UTC].
    """

    fields: tuple[InputField, ...]
    inputs: pa.Table
    #: float64 (n): 0 or 1, the number of the class, or the value.
    target: NDArray[np.float64]
    task: Task
    #: Class names in the order of their numbers; empty for numbers and counts.
    classes: tuple[str, ...] = ()
    #: int64 (n), microseconds, or `None` if rows have no time.
    time: NDArray[np.int64] | None = None
    #: int64 (n): rows with the same code belong to one group (a person, a machine), or `None`.
    group: NDArray[np.int64] | None = None
    #: Columns for slices and fairness, which need not be inputs: strings.
    attributes: pa.Table | None = None
    #: The key of each row: the stream's `_row`, or the row's number.
    row: NDArray[np.int64] | None = None
    #: Name of the target.
    target_name: str = ""

    def __len__(self) -> int:
        return len(self.target)

    def take(self, places: NDArray[np.int64]) -> Examples:
        """The rows at `places`, in that order."""
        at = pa.array(places)
        return replace(
            self,
            inputs=self.inputs.take(at),
            target=self.target[places],
            time=None if self.time is None else self.time[places],
            group=None if self.group is None else self.group[places],
            attributes=None if self.attributes is None else self.attributes.take(at),
            row=None if self.row is None else self.row[places],
        )
