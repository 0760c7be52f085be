"""The search space of a sampler: ranges and listed values, each with its label and its number."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import exp, log
from typing import Any

import msgspec

from tidemill.core.duration import duration
from tidemill.core.errors import SettingRefused
from tidemill.core.search_space import SearchGrid, SearchRange, search

#: Maximum number of combinations of a grid.
COMBINATIONS = 10_000
#: Significant digits of a sampled number.
_DIGITS = 4


@dataclass(frozen=True)
class SampledRange:
    """A `SearchRange` as numbers: integers, floats, or durations in the unit of the lower end."""

    asked: SearchRange
    low: float
    high: float
    unit: str = ""

    @classmethod
    def from_search(cls, asked: SearchRange) -> SampledRange:
        """The range as numbers. Raises `SettingRefused` if the ends do not form a range."""
        search(asked.low, asked.high, log=asked.log)
        if asked.kind != "duration":
            return cls(asked, float(asked.low), float(asked.high))
        unit = str(asked.low).split()[-1].lstrip("0123456789.").rstrip("s")
        one = duration(f"1 {unit}")
        return cls(asked, duration(asked.low) / one, duration(asked.high) / one, unit)

    @property
    def is_log(self) -> bool:
        """Whether values are sampled on a log scale."""
        return self.asked.log or bool(self.unit)

    @property
    def size(self) -> int | None:
        """Number of values, `None` for a continuous range."""
        return int(self.high) - int(self.low) + 1 if self.asked.kind == "whole" else None

    def written(self, number: float) -> Any:
        """The value for a sampled number: `43`, `0.2835`, `"43 days"`; never outside the ends."""
        if self.asked.kind == "whole":
            return min(max(round(number), self.asked.low), self.asked.high)
        if self.unit:
            rounded = float(round(number)) if number >= 10 else float(f"{number:.2g}")
        else:
            rounded = float(f"{number:.{_DIGITS}g}")
        if rounded <= self.low or rounded >= self.high:
            return self.asked.low if rounded <= self.low else self.asked.high
        return _length(rounded, self.unit) if self.unit else rounded

    def number(self, value: Any) -> float:
        """The number of a value; `SettingRefused` if it is not in this range."""
        try:
            found = duration(value) / duration(f"1 {self.unit}") if self.unit else float(value)
        except (TypeError, ValueError) as problem:
            raise SettingRefused(
                f"{value!r} is not in the range {self.asked.low!r} to {self.asked.high!r}"
            ) from problem
        slack = 1e-9 * max(abs(self.low), abs(self.high))  # rounding errors of writing and reading
        if not self.low - slack <= found <= self.high + slack:
            raise SettingRefused(f"{value!r} is outside the range {self.asked.low!r} to {self.asked.high!r}")
        return min(max(found, self.low), self.high)

    def at(self, share: float) -> Any:
        """The value at a share of the range, 0 to 1."""
        if self.is_log:
            return self.written(exp(log(self.low) + share * (log(self.high) - log(self.low))))
        return self.written(self.low + share * (self.high - self.low))


@dataclass(frozen=True)
class SampledSpace:
    """Ranges and listed values by setting name, in the given order."""

    axes: dict[str, SampledRange | tuple[Any, ...]]

    @classmethod
    def from_settings(cls, space: Mapping[str, SearchRange | SearchGrid | Sequence[Any]]) -> SampledSpace:
        """The space. Raises `SettingRefused` for no settings, a setting without values, or a repeated value."""
        if not space:
            raise SettingRefused(
                "there is no setting to search", tip='pass one as tm.search("7 days", "365 days") or tm.grid(16, 64)'
            )
        sampled = cls(
            {
                name: SampledRange.from_search(one) if isinstance(one, SearchRange) else _values(name, one)
                for name, one in space.items()
            }
        )
        if (n := len(list(itertools.islice(sampled.combinations(), COMBINATIONS + 1)))) > COMBINATIONS:
            raise SettingRefused(
                f"the grids make more than {n - 1:,} combinations",
                tip="use tm.search(low, high) for the widest of them",
            )
        return sampled

    @property
    def ranges(self) -> dict[str, SampledRange]:
        """Settings sampled from a range."""
        return {name: axis for name, axis in self.axes.items() if isinstance(axis, SampledRange)}

    @property
    def listed(self) -> dict[str, tuple[Any, ...]]:
        """Settings with listed values."""
        return {name: axis for name, axis in self.axes.items() if isinstance(axis, tuple)}

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of listed values, the last setting changing fastest; one empty one without lists."""
        for values in itertools.product(*self.listed.values()):
            yield dict(zip(self.listed, values, strict=True))

    def points(self, at_most: int) -> list[dict[str, Any]] | None:
        """All points, if they can be enumerated: pure grids, and few enough integers."""
        whole: dict[str, Sequence[Any]] = {}
        count = 1
        for name, axis in self.axes.items():
            if isinstance(axis, tuple):
                whole[name] = axis
            elif axis.size is not None and axis.size <= at_most:
                whole[name] = range(int(axis.low), int(axis.high) + 1)
            else:
                return None
            count *= len(whole[name])
        if self.ranges and count > at_most:
            return None
        return [dict(zip(whole, values, strict=True)) for values in itertools.product(*whole.values())]

    def drawn(self, seed: str) -> dict[str, Any]:
        """A random point."""
        rng = random.Random(seed)
        return {
            name: axis.at(rng.random()) if isinstance(axis, SampledRange) else rng.choice(axis)
            for name, axis in self.axes.items()
        }

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise `SettingRefused` if these are not settings of this space."""
        if set(parameters) != set(self.axes):
            raise SettingRefused(f"settings {sorted(parameters)} are not the searched ones: {sorted(self.axes)}")
        for name, axis in self.axes.items():
            if isinstance(axis, SampledRange):
                axis.number(parameters[name])
            else:
                place(axis, parameters[name])


def key(value: Any) -> str:
    """The value as a JSON key, as read back from a ledger entry (1, 1.0 and true differ)."""
    return msgspec.json.encode(value, order="sorted").decode()


def place(values: Sequence[Any], value: Any) -> int:
    """The index of a value in a list, also for a value that was stored and read again."""
    keys = [key(one) for one in values]
    if key(value) not in keys:
        raise SettingRefused(f"{value!r} is not one of the values {tuple(values)!r}")
    return keys.index(key(value))


def _values(name: str, listed: SearchGrid | Sequence[Any]) -> tuple[Any, ...]:
    if not isinstance(listed, SearchGrid | tuple | list):
        raise SettingRefused(
            f"{name}={listed!r} is not a range or a list of values",
            tip=f"write {name}=tm.search(low, high) or {name}=tm.grid(a, b), or leave it out of the search",
        )
    values = tuple(listed.values if isinstance(listed, SearchGrid) else listed)
    if not values or len({key(value) for value in values}) < len(values):
        raise SettingRefused(f"{name}={values!r}: give at least one value, and each only once")
    return values


def _length(number: float, unit: str) -> str:
    text = format(Decimal(f"{number:.6g}"), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {unit}" if text == "1" else f"{text} {unit}s"
