"""Input ranges: which values of each input the training rows have, to flag inputs of a request that are unlike them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from tidemill.core.errors import BundleCorrupt
from tidemill.core.record_format import Record, VersionedRecord, decode_record

RANGES = "input_ranges.json"
_INF = float("inf")


class InputRange(Record, frozen=True, omit_defaults=True):
    """The training values of one input, without any that only a few rows have, because these may identify a person."""

    name: str = ""
    #: The known texts, sorted; `None` for other kinds. The model treats every other text as unseen.
    texts: tuple[str, ...] | None = None
    #: The ends of the range of a number; `None` for other kinds and with too few rows.
    low: float | None = None
    high: float | None = None
    #: Whether some training rows lack a value.
    missing: bool = False
    #: The share of the training rows whose value is not within.
    outside: float = 0.0


class InputRanges(VersionedRecord, frozen=True):
    """`input_ranges.json` of a bundle. Inputs without an entry are never flagged."""

    KIND: ClassVar[str] = "input ranges"
    REQUIRED: ClassVar[tuple[str, ...]] = ("inputs",)

    n_rows: int = 0
    inputs: tuple[InputRange, ...] = ()

    def known_texts(self) -> dict[str, frozenset[str]]:
        """The known texts of each text input."""
        return {one.name: frozenset(one.texts) for one in self.inputs if one.texts is not None}

    def unseen_in(self, names: Sequence[str]) -> Callable[[Sequence[Any]], tuple[str, ...]]:
        """The function from a row's values, in the order of `names`, to the inputs that are unlike the training rows:
        an unknown text, a number out of range, or a missing value where no training row lacks one.

        >>> ranges = InputRanges(
        ...     inputs=(InputRange(name="age", low=18, high=90), InputRange(name="plan", texts=("a",)))
        ... )
        >>> unseen = ranges.unseen_in(["age", "plan"])
        >>> unseen([30, "a"]), unseen([130, None])
        ((), ('age', 'plan'))
        """
        places = {name: place for place, name in enumerate(names)}
        known = sorted((places[one.name], one) for one in self.inputs if one.name in places)
        tests = [
            (
                place,
                one.name,
                None if one.texts is None else frozenset(one.texts),
                -_INF if one.low is None else one.low,
                _INF if one.high is None else one.high,
                one.missing,
            )
            for place, one in known
        ]

        def unseen(values: Sequence[Any]) -> tuple[str, ...]:
            found: tuple[str, ...] = ()
            for place, name, texts, low, high, missing in tests:
                value = values[place]
                if value is None:
                    if not missing:
                        found += (name,)
                elif texts is not None:
                    if value not in texts:
                        found += (name,)
                elif not low <= value <= high and (value == value or not missing):  # NaN is missing
                    found += (name,)
            return found

        return unseen


def write_input_ranges(ranges: InputRanges, folder: Path) -> None:
    """Store the ranges in a bundle."""
    (folder / RANGES).write_bytes(msgspec.json.format(msgspec.json.encode(ranges)))


def read_input_ranges(folder: Path) -> InputRanges:
    """The ranges of a bundle; none if it has no file of them, as in bundles written before."""
    file = folder / RANGES
    try:
        return decode_record(file.read_bytes(), InputRanges, str(file))
    except FileNotFoundError:
        return InputRanges()
    except (OSError, msgspec.DecodeError) as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
