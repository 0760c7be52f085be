"""Contracts: the schema and the value checks of a stream's rows, read from an `Event` class.

For example:
    class Review(tm.Event):
        user_id: str = tm.subject()
        item_id: str = tm.item()
        rating: float = tm.field(ge=1, le=5, unit="stars")
        reviewed_at: datetime = tm.event_time(zone="UTC")
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args, get_origin
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tidemill.core.errors import TypeMismatch, UnknownName, nearest
from tidemill.core.kinds import KINDS, Kind

Role = Literal["subject", "item", "event_time"]

#: System columns that the lake adds to every row of a stream; user columns must not start with an underscore.
INCREMENT, ROW, KNOWN_AT = "_increment", "_row", "_known_at"
SYSTEM_COLUMNS = (INCREMENT, ROW, KNOWN_AT)

_KINDS: dict[type, Kind] = {spec.python: kind for kind, spec in KINDS.items()}


#: Suggestions in the error for an unknown time zone.
_ZONES = ("UTC", "America/New_York", "Asia/Tokyo", "Europe/Berlin", "Europe/London")


class ContractColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a contract."""

    name: str = ""
    kind: Kind = "str"
    #: Role of the column in addition to its type: the person, the item, or the event time.
    role: Role | None = None
    #: Minimum and maximum allowed value, both inclusive.
    ge: float | None = None
    le: float | None = None
    unit: str | None = None
    #: May be missing; a missing value takes `default`.
    optional: bool = False
    default: str | float | int | bool | None = None
    #: For times: the zone of values without one, and how to handle local times that are ambiguous or nonexistent.
    zone: str | None = None
    ambiguous: Literal["earliest", "latest", "raise"] = "raise"
    nonexistent: Literal["forward", "raise"] = "raise"


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a stream, in declared order."""

    name: str = ""
    columns: tuple[ContractColumn, ...] = ()

    def __getitem__(self, name: str) -> ContractColumn:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> list[str]:
        """The column names in declared order."""
        return [column.name for column in self.columns]

    def role(self, role: Role) -> list[str]:
        """The names of the columns with this role."""
        return [column.name for column in self.columns if column.role == role]

    @property
    def event_time(self) -> str:
        """The name of the event time column."""
        return self.role("event_time")[0]


class _Field:
    """Column options, given as a class attribute of an `Event`."""

    def __init__(self, **about: Any) -> None:
        self.about = about


def subject() -> Any:
    """A column with a person's identifier, stored only as a surrogate; erasable, and never in statistics or logs."""
    return _Field(role="subject")


def item() -> Any:
    """A column with the identifier of the item of a row."""
    return _Field(role="item")


def field(
    *,
    ge: float | None = None,
    le: float | None = None,
    unit: str | None = None,
    default: Any = ...,
    zone: str | None = None,
    ambiguous: Literal["earliest", "latest", "raise"] = "raise",
    nonexistent: Literal["forward", "raise"] = "raise",
) -> Any:
    """A plain column with its allowed range (both ends inclusive), its unit, and a default for missing values.

    For a time, `zone` is the zone of values without one; see `event_time`.
    """
    if zone is not None:
        known_zone(zone)
    for name, bound in (("ge", ge), ("le", le)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float) or bound != bound):
            raise TypeMismatch(f"field({name}={bound!r}): it must be a number", tip=f"for example {name}=1")
    if ge is not None and le is not None and ge > le:
        raise TypeMismatch(f"field(ge={ge}, le={le}): no value is in this range", tip=f"swap them: ge={le}, le={ge}")
    about: dict[str, Any] = {"ge": ge, "le": le, "unit": unit}
    about |= {"zone": zone, "ambiguous": ambiguous, "nonexistent": nonexistent}
    if default is not ...:
        about |= {"optional": True, "default": default}
    return _Field(**about)


def event_time(
    *,
    zone: str | None = None,
    ambiguous: Literal["earliest", "latest", "raise"] = "raise",
    nonexistent: Literal["forward", "raise"] = "raise",
) -> Any:
    """The event time column, stored as UTC microseconds. Values without a zone are read in `zone`, or else refused."""
    if zone is not None:
        known_zone(zone)
    return _Field(role="event_time", zone=zone, ambiguous=ambiguous, nonexistent=nonexistent)


def known_zone(name: str) -> str:
    """Return `name` if it is in the tz database, or else raise `UnknownName` with the nearest zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownName(f"there is no time zone {name!r}", tip=nearest(name, _ZONES)) from None
    return name


_CONTRACTS: WeakKeyDictionary[type, Contract] = WeakKeyDictionary()


class _EventType(type):
    """The type of `Event` classes. Their contract is no attribute of their own: a column may have any name."""

    @property
    def contract(cls) -> Contract:
        """The contract that the class declares."""
        return _CONTRACTS[cls]


class Event(metaclass=_EventType):
    """Base class of contracts: annotate the columns, with options from `subject`, `item`, `field` and `event_time`."""

    def __init_subclass__(cls) -> None:
        hints = typing.get_type_hints(cls)
        columns = tuple(_column(cls, name, hint) for name, hint in hints.items())
        times = [column.name for column in columns if column.role == "event_time"]
        if len(times) != 1:
            raise TypeMismatch(
                f"{cls.__name__} declares {len(times)} event times",
                tip="declare exactly one column `= tm.event_time(zone='UTC')`",
            )
        _CONTRACTS[cls] = Contract(name=cls.__name__, columns=columns)


def _column(cls: type, name: str, hint: Any) -> ContractColumn:
    if name.startswith("_"):
        raise TypeMismatch(f"{cls.__name__}.{name}: names that start with an underscore are reserved")
    optional = False
    if get_origin(hint) in (typing.Union, types.UnionType):
        optional = type(None) in get_args(hint)
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        hint = rest[0] if len(rest) == 1 else hint
    if hint not in _KINDS:
        raise TypeMismatch(
            f"{cls.__name__}.{name} has the type {hint!r}",
            tip="use str, float, int, bool or datetime, with `| None` if it may be missing",
        )
    value = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), ...)
    about: dict[str, Any] = dict(value.about) if isinstance(value, _Field) else {}
    if not isinstance(value, _Field) and value is not ...:
        about = {"optional": True, "default": value}
    about.setdefault("optional", optional)
    about["optional"] = about["optional"] or optional
    if about.get("role") == "event_time" and _KINDS[hint] != "time":
        raise TypeMismatch(f"{cls.__name__}.{name} is an event time and must be annotated `datetime`")
    if about.get("role") in ("subject", "item") and _KINDS[hint] != "str":
        raise TypeMismatch(f"{cls.__name__}.{name} is an identifier and must be annotated `str`")
    kind = _KINDS[hint]
    if kind not in ("int", "float") and (about.get("ge") is not None or about.get("le") is not None):
        raise TypeMismatch(f"{cls.__name__}.{name}: ge= and le= are bounds of numbers, and it is {KINDS[kind].words}")
    default = about.get("default")
    if default is not None and not _fits(kind, default):
        raise TypeMismatch(
            f"{cls.__name__}.{name}: the default {default!r} is not {KINDS[kind].words}", tip="or annotate another type"
        )
    return ContractColumn(name=name, kind=kind, **about)


def _fits(kind: Kind, value: Any) -> bool:
    """Whether a default value has the kind of its column; an integer is a number too."""
    if kind in ("int", "float") and isinstance(value, bool):
        return False
    return isinstance(value, int | float if kind == "float" else KINDS[kind].python)
