"""Settings of a learner: value types with their bounds, and their validation.

The type of a field is its full definition: `l2: Positive | Space | None = None` is a number above 0, a range or a grid
of such numbers, or left out. There is no separate list of settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, inspect

from tidemill.core.duration import duration
from tidemill.core.errors import LearnError, SettingRefused, UsageError
from tidemill.core.search_space import SearchGrid, SearchRange

#: A number from 0 to 1.
Share = Annotated[float, Meta(ge=0, le=1)]
#: A number, 0 or more.
NotNegative = Annotated[float, Meta(ge=0)]
#: A number above 0.
Positive = Annotated[float, Meta(gt=0)]
#: An integer, 1 or more.
Count = Annotated[int, Meta(ge=1)]
#: An integer, 0 or more.
CountOrZero = Annotated[int, Meta(ge=0)]
#: A duration such as `"30 days"`.
TimeLength = Annotated[str, Meta(extra={"kind": "time length"})]


@dataclass(frozen=True)
class SettingKind:
    """The allowed values of one setting: in words, and as a check."""

    type: inspect.Type

    @property
    def words(self) -> str:
        """For example `an integer, at least 1`; empty for values that are not checked here."""
        kind = self.type
        if isinstance(kind, inspect.IntType | inspect.FloatType):
            return f"{'an integer' if isinstance(kind, inspect.IntType) else 'a number'}{_bounds(kind)}"
        if isinstance(kind, inspect.BoolType):
            return "True or False"
        if isinstance(kind, inspect.LiteralType):
            return f"one of {', '.join(repr(value) for value in kind.values)}"
        if _is_time_length(kind):
            return 'a duration such as "30 days"'
        return "text" if isinstance(kind, inspect.StrType) else ""

    def check(self, where: str, value: Any) -> None:
        """Raise `SettingRefused`, with a message that begins with `where`, for a value that is not allowed."""
        if _is_time_length(self.type):
            in_days(value, where)
        elif self.words and not self._allows(value):
            raise SettingRefused(f"{where}: it must be {self.words}")

    def _allows(self, value: Any) -> bool:
        kind = self.type
        if isinstance(kind, inspect.BoolType):
            return isinstance(value, bool)
        if isinstance(kind, inspect.LiteralType):
            return any(value == one and type(value) is type(one) for one in kind.values)
        if isinstance(kind, inspect.StrType):
            return isinstance(value, str)
        assert isinstance(kind, inspect.IntType | inspect.FloatType)
        known = (int,) if isinstance(kind, inspect.IntType) else (int, float)
        if isinstance(value, bool) or not isinstance(value, known):
            return False
        return not (
            (kind.ge is not None and not value >= kind.ge)
            or (kind.gt is not None and not value > kind.gt)
            or (kind.le is not None and not value <= kind.le)
            or (kind.lt is not None and not value < kind.lt)
        )


@lru_cache(maxsize=256)
def setting_kinds(learner: type[msgspec.Struct]) -> dict[str, SettingKind]:
    """The settings of a learner's class by name, as declared by their types; ranges and grids have the same kind."""
    about = inspect.type_info(learner)
    assert isinstance(about, inspect.StructType)
    return {field.name: SettingKind(_plain(field.type)) for field in about.fields}


def check_settings(learner: msgspec.Struct, name: str) -> None:
    """Raise `SettingRefused` for the first setting of `learner`, called `name`, with an invalid value."""
    for setting, kind in setting_kinds(type(learner)).items():
        value = getattr(learner, setting)
        for one in _tried(value):
            kind.check(f"{name}({setting}={one!r})", one)


def number(value: Any) -> float:
    """A number; raises `LearnError` if it has no value yet."""
    if not isinstance(value, int | float):
        raise LearnError(f"{value!r} has no value yet", tip="call `.settled()`, or choose it with `choose`")
    return float(value)


def whole(value: Any) -> int:
    """An integer; raises `LearnError` if it has no value yet."""
    return int(number(value))


#: A half-life may be longer than any window: nothing decays then.
_LONGEST_DAYS = 1_000_000


def in_days(length: Any, where: str = "a duration") -> float:
    """The days of a positive duration such as `"12 hours"`; raises `SettingRefused` if it is invalid.

    >>> in_days("12 hours")
    0.5
    """
    try:
        found = duration(length, longest_days=_LONGEST_DAYS) / duration("1 day")
    except (UsageError, TypeError) as problem:
        raise SettingRefused(f"{where}: {length!r} is not a valid duration", tip='write it as "30 days"') from problem
    if found <= 0:
        raise SettingRefused(f"{where}: it must be longer than 0")
    return found


def _tried(value: Any) -> tuple[Any, ...]:
    """The values written in a setting."""
    if isinstance(value, SearchRange):
        return value.low, value.high
    if isinstance(value, SearchGrid):
        return value.values
    return () if value is None else (value,)


def _plain(kind: inspect.Type) -> inspect.Type:
    """A setting's type without `None`, range and grid."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    rest = [one for one in kind.types if not isinstance(one, inspect.NoneType) and not _is_space(one)]
    return rest[0] if len(rest) == 1 else kind


def _is_space(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StructType) and kind.cls in (SearchRange, SearchGrid)


def _is_time_length(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.Metadata) and (kind.extra or {}).get("kind") == "time length"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:g} to {kind.le:g}"
    limits = [
        (kind.ge, "at least"),
        (kind.gt, "above"),
        (kind.le, "at most"),
        (kind.lt, "below"),
    ]
    said = [f"{word} {limit:g}" for limit, word in limits if limit is not None]
    if not said:
        return ""
    return f" {' and '.join(said)}" if kind.gt is not None else f", {' and '.join(said)}"
