"""What to learn, as data: one frozen record per learner, made by the functions of the same name.

A setting that is left out is chosen on validation days, from the values in `GRID`; a setting that is given is kept;
one that is given as `tm.search(…)` or `tm.grid(…)` is searched there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from tidemill.core.errors import SettingRefused, nearest
from tidemill.core.space import Space
from tidemill.models.learner_spec import LearnerSpec

Learner = TypeVar("Learner", bound=LearnerSpec)


class Popularity(LearnerSpec, frozen=True, kw_only=True, tag="popularity"):
    """The most taken items of the last days: the baseline that everything is shown beside; few days: what trends."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}

    days: int | Space = 30


class ListLearner(LearnerSpec, frozen=True, kw_only=True):
    """What learners of item-to-item lists share: a second opinion from spectral vectors, and how much it counts."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "recency": ("365 days", "30 days"),
        "spectral_share": (0.3, 0.0, 0.6),
        "factors": (16, 64),
    }

    #: How many neighbours of each item are kept.
    neighbours: int | Space = 100
    #: Share of the spectral score in the relevance, 0 to 1.
    spectral_share: float | Space | None = None
    #: Dimensions of the spectral vectors, which draw candidates too; 0 for none.
    factors: int | Space | None = None
    #: A user's items count rank^-rank_power, 1 being the newest.
    rank_power: float | Space = 0.3
    #: Only items of the user's last day count: what goes with what was just taken.
    last_day: bool = False

    def parts(self) -> frozenset[str]:
        return self.PARTS if self.factors == 0 else self.PARTS | {"spectral"}


class Cooccurrence(ListLearner, frozen=True, kw_only=True, tag="cooccurrence"):
    """Time-decayed item-to-item co-occurrence, blended with spectral vectors and decayed popularity."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "cooccurrence"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = ListLearner.GRID | {
        "damping": (0.25, 0.1, 0.5),
        "half_life": ("1500 days", "365 days"),
        "gap": ("1000 days", "100 days"),
        "backward": (1.0, 0.5),
    }

    #: How much frequent items are damped, on both sides.
    damping: float | Space | None = None
    #: How fast a pair of events is forgotten.
    half_life: str | Space | None = None
    #: How fast the weight of a pair falls with the time between its events (time constant).
    gap: str | Space | None = None
    #: Weight of "b was taken before a" against "b was taken after a".
    backward: float | Space | None = None
    #: Pairs of one user are counted up to this many events apart.
    max_lag: int | Space = 60
    #: A pair counts lag^-lag_power.
    lag_power: float | Space = 0.5
    #: Added to counts before damping.
    smooth: float | Space = 5.0
    #: Entries are raised to this power: below 1, many weak pairs count more beside a strong one.
    power: float | Space = 1.0
    #: How much frequent items are damped as answers, where it is not as much as in the history.
    damping_to: float | Space | None = None
    #: 2: neighbours of neighbours, which finds what nobody took together yet.
    hops: int | Space = 1
    #: How much items that are taken more of late gain, and over how many days "of late" is.
    trend: float | Space = 0.0
    trend_days: int | Space = 90


class ItemKnn(ListLearner, frozen=True, kw_only=True, tag="item_knn"):
    """Cosine between items over their users, shrunk where few users support it; each event counts alike."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "item_knn"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = ListLearner.GRID | {"shrinkage": (10.0, 1.0, 50.0)}

    #: Added to the number of common users in the denominator.
    shrinkage: float | Space | None = None


class Transitions(LearnerSpec, frozen=True, kw_only=True, tag="transitions"):
    """What is taken right after what: a Markov chain of the first order, damped by how frequent items are."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "transitions"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "damping": (0.25, 0.0, 0.5),
        "half_life": ("1500 days", "365 days"),
        "recency": ("30 days", "365 days"),
    }

    damping: float | Space | None = None
    half_life: str | Space | None = None
    #: How many steps ahead count: with 1, only the next item.
    steps: int | Space = 1
    neighbours: int | Space = 100


class Spectral(LearnerSpec, frozen=True, kw_only=True, tag="spectral"):
    """Truncated SVD of the degree-normalised interactions as a low-pass filter: item vectors and user vectors."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "spectral"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "factors": (16, 64, 128),
        "smoothing": (10.0, 3.0, 30.0),
        "recency": ("365 days", "30 days"),
    }

    #: Dimensions of the vectors.
    factors: int | Space | None = None
    #: Added to the degrees of users and items, so that islands of rare items do not lead.
    smoothing: float | Space | None = None
    #: How much items with many events are held back, 0 to 1.
    item_power: float | Space = 0.5
    #: How much frequent items gain in the answer; the same as `item_power` where it is left out.
    out_power: float | Space | None = None
    #: Axes count strength^gain: above 0, strong ones more.
    gain: float | Space = 0.0


class Ease(LearnerSpec, frozen=True, kw_only=True, tag="ease"):
    """Linear item-to-item weights in closed form, for catalogues of up to some ten thousand items (Steck 2019)."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "ease"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "l2": (200.0, 20.0, 1000.0),
        "recency": ("365 days", "30 days"),
    }

    #: How strongly weights are held small.
    l2: float | Space | None = None
    neighbours: int | Space = 300
    #: Pairs of a user's items count less the longer the time between them (time constant); left out, all alike.
    gap: str | Space | None = None


class Als(LearnerSpec, frozen=True, kw_only=True, tag="als"):
    """Factors of implicit feedback by alternating least squares (Hu, Koren & Volinsky 2008)."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"popularity", "als"})
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "factors": (64, 16),
        "confidence": (10.0, 40.0),
        "recency": ("365 days", "30 days"),
    }

    factors: int | Space | None = None
    #: An event's confidence is 1 + confidence.
    confidence: float | Space | None = None
    l2: float | Space = 0.1
    iterations: int | Space = 10


class Blend(LearnerSpec, frozen=True, kw_only=True, tag="blend"):
    """A small ranker over what several learners say of an item, its age and counts, and the user's history."""

    #: The learners whose parts draw candidates and are scored together: name of the part -> learner.
    members: dict[str, LearnerSpec] = msgspec.field(default_factory=dict)
    #: Candidates of each part.
    draws: int = 80
    trees: int | Space = 50
    leaves: int | Space = 7
    rate: float | Space = 0.1
    #: Rows in a leaf at least; fewer learn the noise of one window.
    min_leaf: int | Space = 400

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, member in self.members.items():
            if not name.isidentifier() or name == "popularity":
                raise SettingRefused(f"blend: {name!r} cannot be a part's name", tip="use letters, digits, underscores")
            if not isinstance(member, LearnerSpec) or isinstance(member, Popularity | Blend | Auto):
                raise SettingRefused(
                    f"blend: the member {name!r} is {member!r}, which leaves no part",
                    tip="name learners such as tm.cooccurrence() and tm.item_knn(); recent counts are in every blend",
                )
            if member.searched():
                open_ones = ", ".join(member.searched())
                raise SettingRefused(
                    f"blend: {open_ones} of the member {name!r} cannot be searched inside of a blend",
                    tip="search it by itself, and give the member what came out",
                )

    def parts(self) -> frozenset[str]:
        return frozenset({"popularity", *self.members})

    def told(self) -> dict[str, Any]:
        """The settings with one line for each member.

        >>> Blend(members={"near": ItemKnn(shrinkage=3.0)}).told()["members"]
        {'near': 'item_knn(shrinkage=3.0)'}
        """
        return self.settings() | {"members": {name: _line(member) for name, member in self.members.items()}}


class Auto(LearnerSpec, frozen=True, kw_only=True, tag="auto"):
    """All learners, cheapest first, within a deadline; the simplest stays unless a dearer one beats it beyond noise."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}

    minutes: float = 2.0
    #: Names of the learners to try; empty for all.
    only: tuple[str, ...] = ()

    def parts(self) -> frozenset[str]:
        """What may come out of it: any part, so that a slate is checked when the winner is known."""
        return frozenset({"popularity", *ALL_PARTS})


#: Parts that a slate can draw from.
ALL_PARTS = ("cooccurrence", "item_knn", "transitions", "spectral", "ease", "als")

AnyLearner = Popularity | Cooccurrence | ItemKnn | Transitions | Spectral | Ease | Als | Blend | Auto


def popularity(days: Any = 30) -> Popularity:
    """The most taken items of the last `days` days; with few days: what trends."""
    return Popularity(days=days)


def cooccurrence(**settings: Any) -> Cooccurrence:
    """Time-decayed co-occurrence with decayed popularity, the default: `cooccurrence(half_life="365 days")`.

    Settings are the fields of `Cooccurrence`; what is left out is chosen on validation days.
    """
    return _made(Cooccurrence, settings)


def item_knn(**settings: Any) -> ItemKnn:
    """Neighbouring items by shrunk cosine; settings are the fields of `ItemKnn`."""
    return _made(ItemKnn, settings)


def transitions(**settings: Any) -> Transitions:
    """What is taken right after what; settings are the fields of `Transitions`."""
    return _made(Transitions, settings)


def spectral(**settings: Any) -> Spectral:
    """A spectral linear model with item and user vectors; settings are the fields of `Spectral`."""
    return _made(Spectral, settings)


def ease(**settings: Any) -> Ease:
    """Closed-form linear item-to-item weights, for small catalogues; settings are the fields of `Ease`."""
    return _made(Ease, settings)


def als(**settings: Any) -> Als:
    """Factors by alternating least squares; settings are the fields of `Als`. Needs the extra `learn`."""
    return _made(Als, settings)


def blend(**settings: Any) -> Blend:
    """A learned blend: a ranker over the parts of several learners. Needs the extra `learn`.

    `members` names them: `blend(members={"session": cooccurrence(…), "knn": item_knn(…)})`; without it, what goes
    with the last items, with those of the last day and with a long history, neighbours of neighbours, item-kNN and
    spectral vectors.
    """
    settings.setdefault("members", blended())
    if not settings["members"]:
        raise SettingRefused("blend: there is no member to blend", tip="leave `members` out for the usual ones")
    return _made(Blend, settings)


def auto(*, minutes: float = 2.0, only: tuple[str, ...] | list[str] = ()) -> Auto:
    """The learner that the data asks for: all are tried, cheapest first, and the simplest is kept on a tie."""
    return _made(Auto, {"minutes": minutes, "only": tuple(only)})


def blended() -> dict[str, LearnerSpec]:
    """The members of a learned blend unless others are named."""
    long_ago = "100000 days"
    listed: dict[str, Any] = {"neighbours": 200, "factors": 0, "spectral_share": 0.0}
    near: dict[str, Any] = listed | {
        "half_life": "1400 days", "gap": "1000 days", "damping": 0.25, "backward": 1.0, "trend": 0.2, "trend_days": 90,
    }  # fmt: skip
    far: dict[str, Any] = near | {
        "lag_power": 0.25, "backward": 0.7, "damping_to": 0.5, "smooth": 2.0, "trend": 0.4, "trend_days": 30,
        "power": 0.7,
    }  # fmt: skip
    return {
        "session": Cooccurrence(**near, recency="30 days"),
        "day": Cooccurrence(**near, recency=long_ago, last_day=True),
        "long": Cooccurrence(**far, recency=long_ago, rank_power=0.0),
        "second": Cooccurrence(**near, recency="30 days", hops=2),
        "knn": ItemKnn(**listed, shrinkage=10.0, recency="365 days"),
        "taste": Spectral(factors=64, smoothing=10.0, recency="365 days"),
    }


def learner_of(name: str, settings: Mapping[str, Any]) -> LearnerSpec:
    """The learner of this name with these settings, as `settings()` gave them; `SettingRefused` for any others.

    >>> learner_of("item_knn", item_knn(shrinkage=3.0).settings()) == item_knn(shrinkage=3.0)
    True
    """
    plain = {key: value for key, value in settings.items() if key != "learner"}
    members = plain.pop("members", {})
    try:
        made: LearnerSpec = msgspec.convert({**plain, "learner": name}, AnyLearner)
        if members:
            parts = {part: learner_of(member["learner"], member) for part, member in members.items()}
            made = msgspec.structs.replace(made, members=parts)
    except (msgspec.ValidationError, AttributeError, KeyError, TypeError) as problem:
        raise SettingRefused(f"these are no settings of `{name}`: {problem}") from problem
    return made


def _line(spec: LearnerSpec) -> str:
    given = {field.name: getattr(spec, field.name) for field in msgspec.structs.fields(spec)}
    usual = {field.name: field.default for field in msgspec.structs.fields(spec)}
    said = ", ".join(f"{name}={value!r}" for name, value in given.items() if value != usual[name])
    return f"{spec.name}({said})"


def _made(kind: type[Learner], settings: dict[str, Any]) -> Learner:
    unknown = sorted(set(settings) - set(kind.__struct_fields__))
    if unknown:
        name = kind.__struct_config__.tag
        raise SettingRefused(f"{name} has no setting `{unknown[0]}`: {nearest(unknown[0], kind.__struct_fields__)}")
    return kind(**settings)
