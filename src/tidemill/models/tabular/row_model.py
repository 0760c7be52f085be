"""Row model: predicts outputs from a row of inputs, for a whole table or for one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.kinds import arrow_type
from tidemill.core.records.signature import InputField, Task, outputs_of

F64 = NDArray[np.float64]


class RowModel:
    """A model that predicts from a row: a subclass has `inputs` and `task`, and implements `answer`.

    Its methods may be called by several threads at the same time. It can be mixed into a `msgspec.Struct`.
    """

    #: The inputs, in the order in which `predict_row` reads them.
    inputs: tuple[InputField, ...]
    task: Task
    #: The classes in the order of the probabilities; in a binary task the second one is positive.
    classes: tuple[str, ...] = ()
    #: The probability from which a binary model predicts the positive class.
    threshold: float = 0.5
    #: Largest difference of a golden prediction on another machine, relative to the largest of them (at least 1).
    tolerance: float = 1e-9

    def answer(self, inputs: pa.Table) -> F64:
        """float64 (n): the probability of the positive class, or the value; (n, k): one column per class or output."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[InputField, ...]:
        """The fields of a response. A model of numbers may have several, one for each column of `answer`; the first is
        the one that is evaluated.
        """
        return outputs_of(self.task)

    def predict(self, inputs: pa.Table) -> dict[str, NDArray[Any]]:
        """The outputs by name: `probability` (n) and `label`, `probabilities` (n, k) and `label`, or the numbers (n).
        Labels are objects (n).
        """
        answer, classes = self.answer(inputs), np.asarray(self.classes, object)
        if self.task == "binary":
            positive = answer >= self.threshold
            return {"probability": answer, "label": classes[positive.astype(np.int64)]}
        if self.task == "classes":
            return {"probabilities": answer, "label": classes[answer.argmax(axis=1)]}
        columns = answer.reshape(len(answer), -1).T
        return {field.name: column for field, column in zip(self.outputs, columns, strict=True)}

    def predict_row(self, values: Sequence[Any]) -> list[float]:
        """The numbers of `answer` for one row. `values` are in the order of `inputs`: missing values `None`, texts str,
        times int microseconds.
        """
        columns = {
            field.name: pa.array([value], arrow_type(field.kind))
            for field, value in zip(self.inputs, values, strict=True)
        }
        numbers: list[float] = np.ravel(self.answer(pa.table(columns))).tolist()
        return numbers

    def explain(self, inputs: pa.Table) -> tuple[F64, F64] | None:
        """The contribution of each input to a prediction: float64 (n, n_inputs), and the base (n); `None` without."""
        return None

    def named(self, target: str) -> RowModel:
        """The same model with the target's name, if it stores one."""
        return self
