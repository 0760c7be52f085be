"""What every learner has: settings that are given, left out or searched, each checked where it is written."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec

from tidemill.core.duration import duration
from tidemill.core.errors import SettingRefused, UsageError
from tidemill.core.space import Grid, Search, Space


class LearnerSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="learner"):
    """Base of all learners, with the popularity that is blended into every score.

    A score is (1 - popularity_share) · relevance + popularity_share · recent popularity, both scaled to at most 1.
    """

    #: Settings that are chosen where they are left out: name -> values tried, the first one before any choice.
    #: They are chosen in this order, popularity first: beside what everybody takes now, a part need only tell the rest.
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {
        "popularity_share": (0.4, 0.2, 0.1, 0.03, 0.0, 0.7),
        "popularity_half_life": ("30 days", "90 days", "7 days"),
    }
    #: Model parts that the bundle will hold.
    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity"})

    #: Share of recent popularity in the score, 0 to 1.
    popularity_share: float | Space | None = None
    #: How fast popularity is forgotten.
    popularity_half_life: str | Space | None = None
    #: How fast a user's earlier events count less than the last one (time constant).
    recency: str | Space | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Search):
                _check(self.name, name, value.low)
                _check(self.name, name, value.high)
            elif isinstance(value, Grid):
                for one in value.values:
                    _check(self.name, name, one)
            elif value is not None:
                _check(self.name, name, value)

    @property
    def name(self) -> str:
        """The learner's name, for example `cooccurrence`."""
        return str(self.__struct_config__.tag)

    def parts(self) -> frozenset[str]:
        """Model parts that the bundle will hold, for `SlateSpec.check`."""
        return self.PARTS

    def open(self) -> dict[str, tuple[Any, ...]]:
        """Settings that are still to be chosen, with the values to try."""
        return {name: values for name, values in self.GRID.items() if getattr(self, name) is None}

    def searched(self) -> dict[str, Search | Grid]:
        """Settings that are given as a range or a grid."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in found.items() if isinstance(value, Search | Grid)}

    def settled(self, **chosen: Any) -> Self:
        """The same learner with `chosen` settings, the first value of `GRID` for what is still open, and the lower end
        or first value of what would have to be searched.
        """
        rest = {name: values[0] for name, values in self.open().items()}
        for name, space in self.searched().items():
            rest[name] = space.low if isinstance(space, Search) else space.values[0]
        return msgspec.structs.replace(self, **(rest | chosen))

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if name != "learner"}

    def told(self) -> dict[str, Any]:
        """The settings as people compare them: a learner inside of this one is a line with what it was given."""
        return self.settings()


_SHARES = frozenset(
    {"popularity_share", "spectral_share", "backward", "damping", "damping_to", "item_power", "out_power"}
)
_DURATIONS = frozenset({"popularity_half_life", "half_life", "gap", "recency"})
_COUNTS = {
    "days": 1, "neighbours": 1, "factors": 0, "max_lag": 1, "steps": 1, "trend_days": 1, "iterations": 1, "draws": 1,
    "trees": 1, "leaves": 2, "min_leaf": 1, "hops": 1,
}  # fmt: skip
_NOT_NEGATIVE = frozenset(
    {"shrinkage", "smoothing", "lag_power", "smooth", "trend", "rank_power", "confidence", "gain"}
)
_POSITIVE = frozenset({"l2", "power", "rate", "minutes"})


def _check(learner: str, name: str, value: Any) -> None:
    where = f"{learner}({name}={value!r})"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _DURATIONS:
        in_days(value, where)
    elif name in _SHARES and not (number and 0 <= value <= 1):
        raise SettingRefused(f"{where}: it is a number from 0 to 1")
    elif name in _COUNTS and not (number and isinstance(value, int) and value >= _COUNTS[name]):
        raise SettingRefused(f"{where}: it is a whole number, at least {_COUNTS[name]}")
    elif name == "hops" and value > 2:
        raise SettingRefused(f"{where}: it is 1 or 2")
    elif name == "last_day" and not isinstance(value, bool):
        raise SettingRefused(f"{where}: it is True or False")
    elif name in _NOT_NEGATIVE and not (number and value >= 0):
        raise SettingRefused(f"{where}: it is a number, at least 0")
    elif name in _POSITIVE and not (number and value > 0):
        raise SettingRefused(f"{where}: it is a number above 0")


def in_days(length: Any, where: str = "a duration") -> float:
    """The days of a length such as `"12 hours"`, above 0; `SettingRefused` where it is none.

    >>> in_days("12 hours")
    0.5
    """
    try:
        found = duration(length) / duration("1 day")
    except (UsageError, TypeError) as problem:
        raise SettingRefused(f"{where}: {length!r} is no length of time", tip='write it as "30 days"') from problem
    if found <= 0:
        raise SettingRefused(f"{where}: it must be longer than nothing")
    return found
