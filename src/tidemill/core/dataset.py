"""A dataset by reference: what it is made of and a fingerprint of what comes out, and none of its rows."""

from __future__ import annotations

from tidemill.core.records import Record
from tidemill.core.signature import Field


class Dataset(Record, frozen=True):
    """The examples of a tabular model as one training saw them; they are made again from what it names."""

    model: str
    #: Its number among the model's datasets, from 1.
    number: int
    publication: int
    as_of: int
    #: Table -> version, of every table that it reads.
    tables: dict[str, int]
    #: Feature view or on-demand function -> fingerprint of its code.
    code: dict[str, str]
    fields: tuple[Field, ...]
    target: str
    n_rows: int
    #: sha256 over every value of every row: one changed cell is another one.
    mark: str

    @property
    def name(self) -> str:
        """`churn@3`."""
        return f"{self.model}@{self.number}"
