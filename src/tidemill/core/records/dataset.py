"""Dataset records, by reference: the inputs and a fingerprint of the result, and none of the rows."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.signature import InputField


class Dataset(VersionedRecord, frozen=True):
    """The examples of a tabular model as one training saw them; they are made again from what it names."""

    KIND: ClassVar[str] = "dataset"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "number", "mark")

    #: Format 2 has the words of `core.kinds`; a reader of format 1 knows only the former ones.
    format: int = 2
    model: str = ""
    #: Its number among the model's datasets, from 1.
    number: int = 0
    publication: int = 0
    as_of: int = 0
    #: Table -> version, of every table that it reads.
    tables: dict[str, int] = msgspec.field(default_factory=dict)
    #: Feature view or on-demand function -> fingerprint of its code.
    code: dict[str, str] = msgspec.field(default_factory=dict)
    fields: tuple[InputField, ...] = ()
    target: str = ""
    n_rows: int = 0
    #: sha256 over every value of every row: one changed cell is another one.
    mark: str = ""

    @property
    def name(self) -> str:
        """`churn@3`."""
        return f"{self.model}@{self.number}"
