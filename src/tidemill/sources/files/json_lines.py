"""JSON Lines decoder: strict decoding of the mapped fields only; a refused line has its field and the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import polars as pl

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.kinds import KINDS, Kind
from tidemill.sources.files.blocks import LineBlock
from tidemill.sources.files.decoder import LineRefusal, RawColumns
from tidemill.sources.files.file_url import NUMBER_UNITS, UNIX_UNITS, Unit
from tidemill.sources.files.mapping import ColumnMapping, ColumnSource
from tidemill.sources.files.type_conversion import LINE, POLARS

_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: dict[Kind, Any] = {"str": str, "float": float, "int": _INT64 | float, "bool": bool, "time": str}
_MESSAGE = re.compile(r"^Expected `(?P<wanted>[^`]*)`(?:, got `(?P<got>\w+)`)?.* - at `\$(?P<path>.*)`\Z")
_GOT = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


class JsonLines:
    """Decodes blocks of JSON lines by field path."""

    def __init__(self, mapping: ColumnMapping) -> None:
        self._mapped = [mapped for mapped in mapping.columns if isinstance(mapped.at, tuple)]
        self._by_path = {mapped.label: mapped for mapped in self._mapped}
        tree: dict[str, Any] = {}
        for mapped in self._mapped:
            _plant(tree, mapped)
        self._type, self._names = _struct(tree)
        self._decoder = msgspec.json.Decoder(self._type)

    def decode(self, block: LineBlock) -> RawColumns:
        lines: Iterable[int] = range(block.first, block.first + block.lines)
        refused: list[LineRefusal] = []
        try:
            rows = self._decoder.decode_lines(block.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows = []
        if len(rows) != block.lines:  # an invalid or blank line: find it
            lines, rows, refused = self._patient(block)
        columns = [self._column(mapped, rows) for mapped in self._mapped]
        return RawColumns(pl.DataFrame([*columns, pl.Series(LINE, lines, dtype=pl.Int64)]), refused)

    def _patient(self, block: LineBlock) -> tuple[list[int], list[Any], list[LineRefusal]]:
        lines: list[int] = []
        rows: list[Any] = []
        refused: list[LineRefusal] = []
        for offset, text in enumerate(block.data.split(b"\n")):
            if not text.strip():
                continue
            line = block.first + offset
            try:
                rows.append(self._decoder.decode(text))
                lines.append(line)
            except msgspec.ValidationError as error:
                column, reason = self._explain(str(error))
                refused.append(LineRefusal(line, column, reason, text.removesuffix(b"\r")))
            except (msgspec.DecodeError, UnicodeDecodeError):
                refused.append(LineRefusal(line, "", "is not valid JSON", text.removesuffix(b"\r")))
            except RecursionError:
                refused.append(LineRefusal(line, "", "is nested too deeply", text.removesuffix(b"\r")))
        return lines, rows, refused

    def _explain(self, message: str) -> tuple[str, str]:
        """Column and reason of a validation message, which contains types and fields but no values."""
        matched = _MESSAGE.match(message)
        if matched is None:
            return "", "is not a JSON object" if "`object`" in message else "is not valid"
        mapped = self._by_path.get(matched["path"].lstrip(".").split("[")[0])
        got = _GOT.get(matched["got"] or "", "a number out of range")
        if mapped is None:
            return "", f"has {got}, but an object was expected"
        column = mapped.column
        if column.kind == "time" and mapped.unit not in UNIX_UNITS and got == "a number":
            return column.name, f"{column.name} is a number without a unit; declare one: `{column.name}:unix_s`"
        wanted = KINDS["str" if column.kind == "time" and mapped.unit not in UNIX_UNITS else _plain(column)].words
        return column.name, f"{column.name} is {got}, but {wanted} was expected"

    def _column(self, mapped: ColumnSource, rows: list[Any]) -> pl.Series:
        name, column = mapped.column.name, mapped.column
        values = _pluck(rows, self._names, mapped.at)
        if mapped.unit in ("last", "last_html"):
            values = [_last(value) for value in values]
        if mapped.unit in NUMBER_UNITS:
            values = [None if value is None else str(value) for value in values]
            return pl.Series(name, values, dtype=pl.String)
        if column.kind == "int" or (column.kind == "time" and mapped.unit in UNIX_UNITS):
            return _numbers(name, values)
        return pl.Series(name, values, dtype=pl.String() if column.kind == "time" else POLARS[column.kind])


def _numbers(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=pl.Int64)
    except (TypeError, OverflowError):
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)


def _plain(column: ContractColumn) -> Kind:
    return "float" if column.kind == "time" else column.kind


def _plant(tree: dict[str, Any], mapped: ColumnSource) -> None:
    *parents, leaf = mapped.at if isinstance(mapped.at, tuple) else ()
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = _type_of(mapped.column, mapped.unit)


def _type_of(column: ContractColumn, unit: Unit | None) -> Any:
    if unit in ("last", "last_html"):
        return list[str] | str | None
    if unit in NUMBER_UNITS:
        return _INT64 | float | str | None
    if column.kind == "time" and unit in UNIX_UNITS:
        return _INT64 | float | None
    return _TYPES[column.kind] | None


def _struct(tree: dict[str, Any]) -> tuple[type[msgspec.Struct], dict[str, Any]]:
    """A struct type for a tree of fields, and the tree of its attribute names: `f0`, `f1`, … replace field names."""
    fields: list[tuple[str, Any, Any]] = []
    names: dict[str, Any] = {}
    rename: dict[str, str] = {}
    for number, (name, inner) in enumerate(tree.items()):
        attribute = f"f{number}"
        if isinstance(inner, dict):
            inner, below = _struct(inner)
            inner = inner | None
        else:
            below = None
        fields.append((attribute, inner, None))
        rename[attribute] = name
        names[name] = (attribute, below)
    return msgspec.defstruct("Line", fields, rename=rename, gc=False), names


def _pluck(rows: list[Any], names: dict[str, Any], path: Any) -> list[Any]:
    for name in path:
        attribute, names = names[name]
        rows = [None if row is None else getattr(row, attribute) for row in rows]
    return rows


def _last(value: Any) -> str | None:
    if isinstance(value, list):
        return str(value[-1]) if value else None
    return value or None


def first_fields(head: bytes) -> list[str]:
    """The top-level field names of the lines in `head`, in order of first occurrence; invalid lines are skipped."""
    names: dict[str, None] = {}
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for text in head.split(b"\n")[:1000]:
        try:
            names.update(dict.fromkeys(decoder.decode(text)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return list(names)
