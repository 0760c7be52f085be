"""Dataset records, by reference: the inputs and a fingerprint of the result, and none of the rows."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.signature import InputField


class Dataset(VersionedRecord, frozen=True):
    """The training examples of a tabular model, by reference. They can be rebuilt from the tables and code it names."""

    KIND: ClassVar[str] = "dataset"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "number", "mark")

    #: Format 2 uses the kind names of `core.kinds`; readers of format 1 know only the former names.
    format: int = 2
    model: str = ""
    #: Number of the dataset within its model, from 1.
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
    #: Share of the examples; a sample is always the same.
    sample: float = 1.0
    #: SHA-256 over every value of every row; one changed cell changes it.
    mark: str = ""

    @property
    def name(self) -> str:
        """`churn@3`."""
        return f"{self.model}@{self.number}"
