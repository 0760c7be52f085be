"""What to learn, as data: one frozen record per learner, made by the functions of the same name.

A setting that is left out is chosen on validation days, from the values in `GRID`; a setting that is given is kept.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec

from tidemill.core.duration import duration
from tidemill.core.errors import SettingRefused, UsageError, nearest


class LearnerSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="learner"):
    """Base of all learners, with the popularity that is blended into every score.

    A score is (1 - popularity_share) · relevance + popularity_share · recent popularity, both scaled to at most 1.
    """

    #: Settings that are chosen where they are left out: name -> values tried, the first one before any choice.
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {
        "popularity_share": (0.4, 0.2, 0.1, 0.03, 0.0),
        "popularity_half_life": ("30 days", "90 days", "7 days"),
    }
    #: Model parts that the bundle will hold.
    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity"})

    #: Share of recent popularity in the score, 0 to 1.
    popularity_share: float | None = None
    #: How fast popularity is forgotten.
    popularity_half_life: str | None = None
    #: How fast a user's earlier events count less than the last one (time constant).
    recency: str | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None:
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

    def settled(self, **chosen: Any) -> Self:
        """The same learner with `chosen` settings, and the first value of `GRID` for what is still open."""
        rest = {name: values[0] for name, values in self.open().items()}
        return msgspec.structs.replace(self, **(rest | chosen))

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return msgspec.structs.asdict(self)


class Popularity(LearnerSpec, frozen=True, kw_only=True, tag="popularity"):
    """The most taken items of the last days: the baseline that everything is shown beside."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}

    days: int = 30


class ListLearner(LearnerSpec, frozen=True, kw_only=True):
    """What learners of item-to-item lists share: a second opinion from spectral vectors, and how much it counts."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "recency": ("365 days", "30 days"),
        "spectral_share": (0.3, 0.0, 0.6),
        "factors": (16, 64),
    }

    #: How many neighbours of each item are kept.
    neighbours: int = 100
    #: Share of the spectral score in the relevance, 0 to 1.
    spectral_share: float | None = None
    #: Dimensions of the spectral vectors, which draw candidates too; 0 for none.
    factors: int | None = None

    def parts(self) -> frozenset[str]:
        return self.PARTS if self.factors == 0 else self.PARTS | {"spectral"}


class Cooccurrence(ListLearner, frozen=True, kw_only=True, tag="cooccurrence"):
    """Time-decayed item-to-item co-occurrence, blended with spectral vectors and decayed popularity."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "cooccurrence"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {
        "damping": (0.25, 0.1, 0.5),
        "half_life": ("1500 days", "365 days"),
        "gap": ("1000 days", "100 days"),
        "backward": (1.0, 0.5),
    } | ListLearner.GRID

    #: How much frequent items are damped, on both sides.
    damping: float | None = None
    #: How fast a pair of events is forgotten.
    half_life: str | None = None
    #: How fast the weight of a pair falls with the time between its events (time constant).
    gap: str | None = None
    #: Weight of "b was taken before a" against "b was taken after a".
    backward: float | None = None
    #: Pairs of one user are counted up to this many events apart.
    max_lag: int = 60


class ItemKnn(ListLearner, frozen=True, kw_only=True, tag="item_knn"):
    """Cosine between items over their users, shrunk where few users support it; each event counts alike."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "item_knn"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {"shrinkage": (10.0, 1.0, 50.0)} | ListLearner.GRID

    #: Added to the number of common users in the denominator.
    shrinkage: float | None = None


class Spectral(LearnerSpec, frozen=True, kw_only=True, tag="spectral"):
    """Truncated SVD of the degree-normalised interactions as a low-pass filter: item vectors and user vectors."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "spectral"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {
        "factors": (16, 64, 128),
        "smoothing": (10.0, 3.0, 30.0),
        "recency": ("365 days", "30 days"),
    } | LearnerSpec.GRID

    #: Dimensions of the vectors.
    factors: int | None = None
    #: Added to the degrees of users and items, so that islands of rare items do not lead.
    smoothing: float | None = None


AnyLearner = Popularity | Cooccurrence | ItemKnn | Spectral


def popularity(days: int = 30) -> Popularity:
    """The most taken items of the last `days` days."""
    return Popularity(days=days)


def cooccurrence(**settings: Any) -> Cooccurrence:
    """Time-decayed co-occurrence with decayed popularity, the default: `cooccurrence(half_life="365 days")`.

    Settings are the fields of `Cooccurrence`; what is left out is chosen on validation days.
    """
    made: Cooccurrence = _made(Cooccurrence, settings)
    return made


def item_knn(**settings: Any) -> ItemKnn:
    """Neighbouring items by shrunk cosine; settings are the fields of `ItemKnn`."""
    made: ItemKnn = _made(ItemKnn, settings)
    return made


def spectral(**settings: Any) -> Spectral:
    """A spectral linear model with item and user vectors; settings are the fields of `Spectral`."""
    made: Spectral = _made(Spectral, settings)
    return made


def _made(kind: type[Any], settings: dict[str, Any]) -> Any:
    unknown = sorted(set(settings) - set(kind.__struct_fields__))
    if unknown:
        name = kind.__struct_config__.tag
        raise SettingRefused(f"{name} has no setting `{unknown[0]}`: {nearest(unknown[0], kind.__struct_fields__)}")
    return kind(**settings)


_SHARES = frozenset({"popularity_share", "spectral_share", "backward", "damping"})
_DURATIONS = frozenset({"popularity_half_life", "half_life", "gap", "recency"})
_COUNTS = {"days": 1, "neighbours": 1, "factors": 0, "max_lag": 1}


def _check(learner: str, name: str, value: Any) -> None:
    where = f"{learner}({name}={value!r})"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _DURATIONS:
        in_days(value, where)
    elif name in _SHARES and not (number and 0 <= value <= 1):
        raise SettingRefused(f"{where}: it is a number from 0 to 1")
    elif name in _COUNTS and not (number and isinstance(value, int) and value >= _COUNTS[name]):
        raise SettingRefused(f"{where}: it is a whole number, at least {_COUNTS[name]}")
    elif name in ("shrinkage", "smoothing") and not (number and value >= 0):
        raise SettingRefused(f"{where}: it is a number, at least 0")


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
