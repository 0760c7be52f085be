"""Mapping of a file's fields to the columns of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tidemill.core.contract.contract import Contract, ContractColumn
from tidemill.core.errors import SchemaChanged, SettingError, SourceUnknown, nearest
from tidemill.sources.files.dialect import Dialect
from tidemill.sources.files.file_url import NUMBER_UNITS, SKIP, TIME_UNITS, ColumnSpec, Unit

Form = Literal["csv", "json", "parquet", "excel"]


class ColumnSource(NamedTuple):
    """A column of the contract and its source field."""

    column: ContractColumn
    #: Position of a CSV field, or path of a JSON or Parquet field; `None` where the file has none.
    at: int | tuple[str, ...] | None
    unit: Unit | None = None

    @property
    def label(self) -> str:
        """The field's name in the source, for messages."""
        if isinstance(self.at, tuple):
            return ".".join(self.at)
        return self.column.name if self.at is None else f"field {self.at + 1}"


class ColumnMapping(NamedTuple):
    """All columns of a contract, in its order; `fields` is the number of CSV fields of a line (0: not CSV)."""

    columns: tuple[ColumnSource, ...]
    fields: int = 0
    dialect: Dialect = Dialect()

    @property
    def brought(self) -> tuple[str, ...]:
        """The contract's columns that the file has."""
        return tuple(mapped.column.name for mapped in self.columns if mapped.at is not None)

    @property
    def timeless(self) -> bool:
        """Whether the rows have no event time."""
        return any(mapped.column.role == "event_time" and mapped.at is None for mapped in self.columns)


def check_specs(specs: Sequence[ColumnSpec], contract: Contract) -> None:
    """Refuse specs with a column that the contract does not have, or with a unit that does not fit its type."""
    for spec in specs:
        if spec.name == SKIP:
            continue
        if spec.name not in contract.names:
            raise SettingError(
                f"`columns=` names `{spec.name}`, which {contract.name} does not have:"
                f" {nearest(spec.name, contract.names)}"
            )
        kind = contract[spec.name].kind
        numbers = spec.unit in NUMBER_UNITS and kind not in ("int", "float")
        if numbers or (spec.unit is not None and (spec.unit in TIME_UNITS) != (kind == "time")):
            raise SettingError(
                f"`columns=` sets the unit `{spec.unit}` for `{spec.name}`, but {contract.name} declares it {kind}"
            )
        if spec.unit in ("last", "last_html") and kind != "str":
            raise SettingError(
                f"`{spec.name}:{spec.unit}` takes the last of a list of texts, but it is declared {kind}"
            )


def by_position(contract: Contract, specs: Sequence[ColumnSpec], where: str, *, timeless: bool) -> ColumnMapping:
    """The mapping of a CSV file without a header: the n-th spec is the n-th field."""
    places = {spec.name: (place, spec.unit) for place, spec in enumerate(specs) if spec.name != SKIP}
    named = [spec.name for spec in specs if spec.source is not None]
    if named:
        raise SettingError(
            f"{where} has no header, so `{named[0]}=…` matches no field", tip="list the columns in the file's order"
        )
    columns = tuple(ColumnSource(column, *places.get(column.name, (None, None))) for column in contract.columns)
    _refuse_missing(columns, contract, [], where, timeless=timeless)
    return ColumnMapping(columns, len(specs))


def by_name(
    contract: Contract, specs: Sequence[ColumnSpec], found: Sequence[str], where: str, form: Form, *, timeless: bool
) -> ColumnMapping:
    """The mapping of a file with named fields; `found` are its top-level fields.

    JSON lines may omit any field, so an optional column is looked for in every line; a header and a Parquet schema are
    complete. Raises `SchemaChanged` with the first required or requested column that is missing.
    """
    wanted = {spec.name: spec for spec in specs if spec.name != SKIP}
    columns = []
    for column in contract.columns:
        spec = wanted.get(column.name, ColumnSpec(name=column.name))
        path = _path(spec.source or column.name, found, nested=form != "csv")
        if path is None and column.name in wanted and (form != "json" or not column.optional):
            raise _lost(column.name, spec.source or column.name, found, where)
        if path is None and form == "json" and column.optional:
            path = tuple((spec.source or column.name).split("."))
        at = list(found).index(path[0]) if path is not None and form == "csv" else path
        columns.append(ColumnSource(column, at, spec.unit))
    _refuse_missing(columns, contract, found, where, timeless=timeless)
    return ColumnMapping(tuple(columns), len(found) if form == "csv" else 0)


def refuse_lost(mapping: ColumnMapping, before: Sequence[str], where: str) -> None:
    """Refuse a file that lacks a column which earlier files of this source had."""
    for name in before:
        if name not in mapping.brought:
            raise SchemaChanged(
                f"{where} has no `{name}`, which earlier files had; no rows of it were ingested",
                tip=f"fix the producer, or remove `{name}` from the contract in mill.py",
            )


def _path(name: str, found: Sequence[str], *, nested: bool) -> tuple[str, ...] | None:
    if name in found:
        return (name,)
    head, dot, rest = name.partition(".")
    return (head, *rest.split(".")) if nested and dot and head in found else None


def _refuse_missing(
    columns: Sequence[ColumnSource], contract: Contract, found: Sequence[str], where: str, *, timeless: bool
) -> None:
    for mapped in columns:
        column = mapped.column
        if mapped.at is not None or column.optional or (column.role == "event_time" and timeless):
            continue
        if found:
            raise _lost(column.name, column.name, found, where)
        raise SourceUnknown(
            f"{where}: no field is mapped to `{column.name}` of {contract.name}",
            tip="list the file's fields in the settings: `?columns=" + ",".join(contract.names) + "`",
        )


def _lost(name: str, source: str, found: Sequence[str], where: str) -> SchemaChanged:
    field = f"`{name}`" if name == source else f"`{source}` (for `{name}`)"
    return SchemaChanged(
        f"{where} has no field {field} ({nearest(source, found)}); no rows of it were ingested",
        tip=f"map it in the settings with `?columns={name}=<field>,…`, or fix the producer",
    )
