"""Files of feature metadata: declarations, also of tables, significance and skew, for processes without mill.py.

They are stored next to the server's pointers, each replaced atomically: `features.json` by every run,
`significance.MODEL.json` by a training and by `tidemill features --significance`, `skew.MODEL.json` by
`tidemill features --skew MODEL`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from tidemill.core.record_format import Record, VersionedRecord
from tidemill.core.records.signature import InputField
from tidemill.features.skew import FeatureSkew
from tidemill.serving.live.state_files import read_state, write_state

FILE = "features.json"


class DeclaredView(Record, frozen=True):
    """A feature view as mill.py declares it."""

    name: str = ""
    entity: str = ""
    #: Whether the entity is a person, looked up by its surrogate; and the other columns that identify people.
    personal: bool = False
    hidden: tuple[str, ...] = ()
    #: `rows`, or a window and the distance between its boundaries, microseconds.
    kind: str = ""
    window_us: int | None = None
    every_us: int | None = None
    ttl_us: int | None = None
    owner: str = ""
    description: str = ""
    inputs: tuple[str, ...] = ()
    #: Name -> type of the declared columns, without the entity and the lake's own columns.
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    #: Models that look it up, or whose slate uses it; and for tabular models column -> the model's input.
    consumers: tuple[str, ...] = ()
    inputs_of: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)

    @property
    def snippet(self) -> str:
        """The code that opens it in a notebook."""
        return f'bench.features["{self.name}"]'


class DeclaredFunction(Record, frozen=True):
    """On-demand features; `gives` is unknown until a model uses it."""

    name: str = ""
    owner: str = ""
    description: str = ""
    takes: tuple[str, ...] = ()
    gives: tuple[InputField, ...] = ()
    consumers: tuple[str, ...] = ()


class DeclaredTable(Record, frozen=True):
    """A stream's table, or a derived one, as mill.py declares it."""

    name: str = ""
    #: Whether it has the rows of a stream; and the tables that it is derived from.
    is_stream: bool = False
    inputs: tuple[str, ...] = ()
    #: The columns that identify people, and the key of a stream's rows.
    personal: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    #: Feature views and models that read it.
    views: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class DeclaredFeatures(VersionedRecord, frozen=True):
    """All features and tables of a project."""

    KIND: ClassVar[str] = "feature declaration"

    #: Format 2 has the kinds of `core.kinds`; a reader of format 1 only knows the former ones.
    format: int = 2
    views: tuple[DeclaredView, ...] = ()
    functions: tuple[DeclaredFunction, ...] = ()
    #: `None` in files of runs that did not store it.
    tables: tuple[DeclaredTable, ...] | None = None

    def table(self, name: str) -> DeclaredTable | None:
        """The declaration of a table; `None` if it is unknown."""
        return next((one for one in self.tables or () if one.name == name), None)


class Significance(VersionedRecord, frozen=True):
    """Input of a model -> p of the input being unrelated to the target, corrected for all inputs."""

    KIND: ClassVar[str] = "feature significance"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "p")

    model: str = ""
    target: str = ""
    #: The time of the test (microseconds), and its publication.
    at: int = 0
    publication: int = 0
    p: dict[str, float] = msgspec.field(default_factory=dict)


class SkewReport(Record, frozen=True):
    """The training-serving skew of a model over its newest logged predictions."""

    model: str = ""
    release: str = ""
    publication: int = 0
    predictions: int = 0
    #: The as-of of the oldest and the newest of them, microseconds; `None` if there are none.
    first: int | None = None
    last: int | None = None
    features: tuple[FeatureSkew, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether any served value differs from the tables."""
        return any(one.differing for one in self.features)


class StoredSkew(VersionedRecord, frozen=True):
    """A skew report and its time, microseconds."""

    KIND: ClassVar[str] = "feature skew report"
    REQUIRED: ClassVar[tuple[str, ...]] = ("report",)

    at: int = 0
    report: SkewReport = SkewReport()


#: The files of this module in the server's folder, by pattern.
METADATA_FILES: dict[str, type[VersionedRecord]] = {
    FILE: DeclaredFeatures,
    "significance.*.json": Significance,
    "skew.*.json": StoredSkew,
}


def write_declared(serving_root: Path, declared: DeclaredFeatures) -> None:
    """Write the declared features."""
    write_state(serving_root / FILE, declared)


def declared_features(serving_root: Path) -> DeclaredFeatures:
    """The declared features of the last run; empty before the first."""
    return read_state(serving_root / FILE, DeclaredFeatures) or DeclaredFeatures()


def write_significance(serving_root: Path, found: Significance) -> None:
    """Write the tests of one model."""
    write_state(serving_root / f"significance.{found.model}.json", found)


def significances(serving_root: Path) -> Mapping[str, Significance]:
    """Model -> its significance tests."""
    read = (read_state(path, Significance) for path in sorted(serving_root.glob("significance.*.json")))
    return {one.model: one for one in read if one is not None}


def write_skew(serving_root: Path, report: SkewReport, at: int) -> None:
    """Write the skew report of one model."""
    write_state(serving_root / f"skew.{report.model}.json", StoredSkew(at=at, report=report))


def skews(serving_root: Path) -> Mapping[str, StoredSkew]:
    """Model -> its skew report."""
    read = (read_state(path, StoredSkew) for path in sorted(serving_root.glob("skew.*.json")))
    return {one.report.model: one for one in read if one is not None}
