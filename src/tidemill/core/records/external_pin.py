"""External pin: the version of a table of another system that a publication was computed from."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from tidemill.core.kinds import Kind, arrow_type, kind_of_arrow
from tidemill.core.record_format import Record

if TYPE_CHECKING:
    import pyarrow as pa

_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


class ExternalPin(Record, frozen=True):
    """A pinned version of an external table, with its columns. Equal versions have equal rows."""

    #: The format, which is the scheme of its URL: `delta`, `parquet`.
    kind: str = ""
    #: Its URL without secrets.
    place: str = ""
    #: The version in words, for example `version 7`.
    says: str = ""
    #: What identifies the version, such as `{"table": "…", "version": "7"}`.
    version: dict[str, str] = msgspec.field(default_factory=dict)
    #: Column -> type: `str`, `int`, `float`, `bool`, `time`, `date` or `decimal(P,S)`.
    columns: dict[str, str] = msgspec.field(default_factory=dict)

    def same_rows(self, other: ExternalPin | None) -> bool:
        """Whether both are the same version, with the same columns, even at different places."""
        if other is None:
            return False
        return (self.kind, self.version, self.columns) == (other.kind, other.version, other.columns)

    def ref(self, name: str) -> str:
        """The reference of this version of the table `name`, as the ledger has it.

        >>> ExternalPin(kind="delta", version={"table": "3f2a", "version": "7"}).ref("prices")
        'external:prices@7'
        """
        number = self.version.get("version") or self.version.get("snapshot") or self.version.get("sha256", "")[:12]
        return f"external:{name}@{number}"

    def schema(self) -> pa.Schema:
        """The columns as a table function receives them: decimals are integers, or floats if they have a fraction."""
        arrow = import_module("pyarrow")
        found: pa.Schema = arrow.schema([(name, table_type(kind)) for name, kind in self.columns.items()])
        return found


def external_type(found: pa.DataType) -> str | None:
    """The name of a column type of an external table; `None` for lists and other unsupported types.

    >>> import pyarrow as pa
    >>> external_type(pa.int32()), external_type(pa.decimal128(10, 2)), external_type(pa.list_(pa.int32()))
    ('int', 'decimal(10,2)', None)
    """
    types = import_module("pyarrow.types")
    if types.is_decimal(found):
        return f"decimal({found.precision},{found.scale})"
    if types.is_date(found):
        return "date"
    if types.is_string_view(found):
        return "str"
    return None if types.is_dictionary(found) and external_type(found.value_type) != "str" else kind_of_arrow(found)


def file_type(name: str) -> pa.DataType:
    """The Arrow type of a column in the table's files, in its widest form."""
    arrow = import_module("pyarrow")
    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return arrow.decimal128(int(decimal[1]), int(decimal[2]))
    return arrow.date32() if name == "date" else arrow_type(_kind(name))


def table_type(name: str) -> pa.DataType:
    """The Arrow type of a column for table functions."""
    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return arrow_type("float" if int(decimal[2]) else "int")
    return file_type(name)


def _kind(name: str) -> Kind:
    return name  # type: ignore[return-value]  # names come from `external_type`
