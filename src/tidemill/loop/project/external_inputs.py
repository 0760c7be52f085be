"""External inputs: the declared tables of other systems, each at the version that is pinned for the tables of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tidemill.core.backend import split_scheme
from tidemill.core.errors import ExternalMissing, ExternalRefused, GraphError, SettingError, SourceError, nearest
from tidemill.core.ports import Engine, ExternalTable
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.settings import FILE
from tidemill.loop.project.open_port import open_port

if TYPE_CHECKING:
    import narwhals as nw

    from tidemill.loop.project.declarations import StreamDeclaration
    from tidemill.loop.project.stores import Stores


@dataclass(frozen=True, eq=False)
class ExternalDeclaration:
    """A table of another system that table functions read in place."""

    name: str
    #: Its URL, unless the settings have one.
    place: str | None = None
    #: The columns that are read; empty: all.
    columns: tuple[str, ...] = ()


class ExternalDeclarations:
    """The part of `Mill` that declares external tables."""

    external_tables: dict[str, ExternalDeclaration]

    def external(self, name: str, place: str | None = None, *, columns: tuple[str, ...] | list[str] = ()) -> Any:
        """Declare a table of another system as an input of tables and queries; it is read in place, never copied.

        `place` is its URL, for example `delta:/data/ratings` or `parquet:/data/ratings/*.parquet`; the setting
        `external.NAME` has precedence. `columns` are the ones to read, by default all. Each publication is computed
        from one version of it, which it records. A new version rebuilds the tables that read it.

        >>> from tidemill.loop.project.mill import Mill
        >>> Mill("magazines").external("prices", "delta:/data/prices").name
        'prices'
        """
        declared = ExternalDeclaration(name, place, tuple(columns))
        self._claim(name)
        self.external_tables[name] = declared
        return declared

    def _claim(self, name: str) -> None:
        raise NotImplementedError


@dataclass
class ExternalInputs:
    """The external tables of a project, and the version of each that is read now."""

    declared: Mapping[str, ExternalDeclaration]
    project: Path
    #: Name -> URL, from the settings; they precede the declared places.
    places: Mapping[str, str] = field(default_factory=dict)
    #: Name -> pinned version. At first that of the newest publication, so that only a run looks at the tables.
    pins: dict[str, ExternalPin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.places:
            if name not in self.declared:
                raise SettingError(
                    f"the setting `external.{name}` names no external table of mill.py",
                    tip=nearest(name, self.declared),
                )
        recorded = self.pins.items()
        self.pins = {
            name: pin
            for name, pin in recorded
            if name in self.declared and self.declared[name].columns in ((), tuple(pin.columns))
        }

    @classmethod
    def of_project(cls, stores: Stores, declared: Mapping[str, ExternalDeclaration]) -> ExternalInputs:
        """The inputs at the versions of the newest publication."""
        has_run = declared and stores.ledger.last("publish") is not None
        pins = stores.lake.view().external if has_run else {}
        return cls(declared, stores.project, stores.settings.external, pins)

    def take(self, engine: Engine) -> bool:
        """Pin the current version of every table in use; return whether the columns of one have changed."""
        before = {name: pin.columns for name, pin in self.pins.items()}
        self.pins = {name: self._pinned(name, engine) for name in self.pins}
        return any(before.get(name) != pin.columns for name, pin in self.pins.items())

    def schemas(self, used: Iterable[str], engine: Engine) -> dict[str, pa.Schema]:
        """The columns of the tables that are inputs, by name. Those that no publication has pinned are pinned now."""
        names = [name for name in self.declared if name in used]
        self.pins = {name: self.pins.get(name) or self._pinned(name, engine) for name in names}
        return {name: pin.schema() for name, pin in self.pins.items()}

    def frame(self, name: str, engine: Engine, pin: ExternalPin | None = None) -> nw.LazyFrame[Any]:
        """The rows of a table at its pinned version, or at `pin`, such as that of an old publication."""
        with _naming(name):
            return self._open(name).frame(engine, pin or self.pins[name])

    def check(self, names: set[str], engine: Engine) -> None:
        """Raise `ExternalVersionGone` if a pinned version of these tables has changed, perhaps while it was read."""
        for name in sorted(names):
            with _naming(name):
                self._open(name).check(engine, self.pins[name])

    def moved(self, published: Mapping[str, ExternalPin]) -> set[str]:
        """The tables whose version differs from the published one."""
        return {name for name, pin in self.pins.items() if not pin.same_rows(published.get(name))}

    def _pinned(self, name: str, engine: Engine) -> ExternalPin:
        with _naming(name):
            return self._open(name).pin(engine, self.declared[name].columns)

    def _open(self, name: str) -> ExternalTable:
        url = self.places.get(name) or self.declared[name].place
        if not url:
            raise ExternalMissing("has no place", tip=f'write {name} = "delta:PATH" under [PROFILE.external] in {FILE}')
        if not split_scheme(url)[0]:
            raise SettingError(f"has the place {url!r}, which does not say its kind", tip=f"write `delta:{url}`")
        table: ExternalTable = open_port("external", url, self.project)
        return table


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the table in errors of its back-end."""
    try:
        yield
    except (SourceError, SettingError) as error:
        error.message = f"external table {name!r} {error.message}"
        raise


def refuse_as_view_input(view: str, name: str) -> GraphError:
    """The error for a feature view that reads an external table."""
    return GraphError(
        f"features {view!r} read the external table {name!r}, which has no publications",
        tip=f"declare a table with `@mill.table` that reads {name!r}, and let the view read that table",
    )


def refuse_personal(pins: Mapping[str, ExternalPin], streams: Iterable[StreamDeclaration]) -> None:
    """Raise `ExternalRefused` for a column with the name of a stream's column of people, whose raw ids would be
    published as if they were surrogates.
    """
    personal = {column: stream.name for stream in streams for column in stream.contract.role("subject")}
    for name, pin in pins.items():
        for column in pin.columns:
            if column in personal:
                raise ExternalRefused(
                    f"external table {name!r} has a column {column!r}, which in {personal[column]!r} is of people: "
                    "its ids are not surrogates, and would be published as they are",
                    tip=f"list the columns to read without it: mill.external({name!r}, columns=[…])",
                )
