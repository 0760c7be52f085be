"""The learner interface: one class with its settings (a frozen record), its training and its capabilities.

A new learner is a class in its own file, found by the entry point group `tidemill.learners`:

    class Nearby(LearnerSpec, frozen=True, kw_only=True, tag="nearby"):
        GRID = LearnerSpec.GRID | {"shrinkage": (10.0, 1.0)}

        shrinkage: NotNegative | Space | None = None

        def fit(self, events: Interactions, as_of: int) -> ItemLists: ...

A setting that is left out is chosen on validation days from the values in `GRID`; a given setting is kept; one given
as `tm.search(…)` or `tm.grid(…)` is searched there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import msgspec

from tidemill.core.errors import LearnError, SettingRefused, nearest
from tidemill.core.search_space import SearchGrid, SearchRange, Space
from tidemill.models.counts.engine_counts import EngineEvents
from tidemill.models.learners.settings import Share, TimeLength, check_settings, in_days, number
from tidemill.models.recommender.history_weights import HistoryWeights
from tidemill.models.recommender.interactions import Interactions
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.part_scores import UserVectors
from tidemill.models.recommender.ranking import CandidateRanker
from tidemill.models.recommender.recent_popularity import decay_steps
from tidemill.models.recommender.recommender import Prior, Recommender

#: Receives the progress of training: the name of the step, and its values.
Progress = Callable[[str, dict[str, Any]], None]
#: Computes a part's arrays from events earlier than an as-of (microseconds); `CountedLists` also supports counts.
Make = Callable[[Interactions, int], ItemLists | UserVectors]
#: The recommender, without a ranking, as trained on these events at their as-of.
LearnEarlier = Callable[[Interactions, int], Recommender]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Capabilities of a learner, as data: no code checks its class."""

    #: Position among the learners that `tm.auto()` tries, cheapest first; `None`: only if `only=` names it.
    auto_order: int | None = None
    #: Whether it can be a member of a blend.
    in_blend: bool = True
    #: Whether it learns from the order of events or the time between them.
    needs_times: bool = False
    #: Whether it has a ranking, so that its score is more than a weighted sum over its parts.
    has_ranking: bool = False
    #: The optional dependencies that it needs: `learn` means `pip install 'tidemill[learn]'`.
    extra: str = ""
    #: Whether `fit_on_engine` learns its vectors from events on another machine.
    on_engine: bool = False
    #: Memory for one event where it is trained, in bytes; measured with 10,000,000 events.
    event_bytes: int = 450


@runtime_checkable
class StagedMake(Protocol):
    """A `Make` in two steps: settings that affect only the second one share the result of the first."""

    @property
    def key(self) -> Hashable:
        """Everything except the events that the first step depends on."""
        ...

    def first(self, events: Interactions, as_of: int) -> Any:
        """The result of the first step."""
        ...

    def second(self, shared: Any, events: Interactions, as_of: int) -> ItemLists | UserVectors:
        """The arrays, from the result of the first step on the same events."""
        ...


@dataclass(frozen=True)
class PartRecipe:
    """One part of a learner with complete settings, before training."""

    share: float
    weights: HistoryWeights
    #: Everything except the events that the arrays depend on: parts with the same key share them.
    key: Hashable
    make: Make
    draws: int | None = None


class LearnerSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="learner"):
    """Base of all learners, with the popularity that is blended into every score.

    A score is (1 - popularity_share) · relevance + popularity_share · recent popularity, both scaled to at most 1.
    A learner with one part overrides `fit`; if the part is computed from additive counts, it overrides `make`; a
    learner with several parts overrides `part_recipes`.
    """

    #: Settings to choose if they are left out: name -> values to try, the first one is the default.
    #: They are chosen in this order, popularity first: the parts need to explain only what popularity does not.
    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {
        "popularity_share": (0.4, 0.2, 0.1, 0.03, 0.0, 0.7),
        "popularity_half_life": ("30 days", "90 days", "7 days"),
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities()
    #: Settings that affect scoring but not the arrays: trials that differ only in these are trained once.
    ANSWER_SETTINGS: ClassVar[frozenset[str]] = frozenset({"popularity_share", "popularity_half_life", "recency"})

    #: Share of recent popularity in the score, 0 to 1.
    popularity_share: Share | Space | None = None
    #: Half-life of popularity.
    popularity_half_life: TimeLength | Space | None = None
    #: Decay of a user's earlier events relative to the last one (time constant).
    recency: TimeLength | Space | None = None

    def __post_init__(self) -> None:
        check_settings(self, self.name)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The learner with these settings; `SettingRefused` with the nearest name for an unknown setting."""
        for unknown in sorted(set(settings) - set(cls.__struct_fields__)):
            raise SettingRefused(
                f"{cls.__struct_config__.tag} has no setting `{unknown}`: {nearest(unknown, cls.__struct_fields__)}"
            )
        return cls(**settings)

    @property
    def name(self) -> str:
        """The learner's name, for example `cooccurrence`."""
        return str(self.__struct_config__.tag)

    def parts(self) -> frozenset[str]:
        """Model parts that the bundle will contain, for `SlateSpec.check`."""
        return frozenset({"popularity", self.name})

    def open(self, n_events: int | None = None) -> dict[str, tuple[Any, ...]]:
        """Settings without a value, with the values to try; some depend on the number of events."""
        return {name: values for name, values in self.GRID.items() if getattr(self, name) is None}

    def searched(self) -> dict[str, SearchRange | SearchGrid]:
        """Settings given as a range or a grid."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in found.items() if isinstance(value, SearchRange | SearchGrid)}

    def settled(self, n_events: int | None = None, /, **chosen: Any) -> Self:
        """The same learner with `chosen` settings; missing settings take the first value to try, and searched ones
        their lower end or first value.
        """
        rest = {name: values[0] for name, values in self.open(n_events).items()}
        for name, space in self.searched().items():
            rest[name] = space.low if isinstance(space, SearchRange) else space.values[0]
        return msgspec.structs.replace(self, **(rest | chosen))

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if name != "learner"}

    def told(self) -> dict[str, Any]:
        """The settings for display: a member learner is one line with its settings."""
        return self.settings()

    def blend_members(self) -> Mapping[str, LearnerSpec]:
        """The learners inside this one, by the name of their part; usually none."""
        return {}

    # ---- training, of a learner with complete settings

    def fit(self, events: Interactions, as_of: int) -> ItemLists | UserVectors:
        """The arrays of its part, from events that are all earlier than `as_of` (microseconds)."""
        raise LearnError(f"{self.name} cannot be trained directly", tip="choose its settings with `choose` first")

    def fit_on_engine(self, events: EngineEvents) -> UserVectors | None:
        """The vectors of its part from events that stay on an engine; `None` if it learns in this process only."""
        return None

    def make(self) -> Make:
        """The function that computes its part: `fit`, or a `StagedMake`; a refresh can rebuild `CountedLists`."""
        return self.fit

    def part_recipes(self) -> dict[str, PartRecipe]:
        """Its parts by name; none for a learner of popularity alone."""
        return {self.name: PartRecipe(1.0, self.history_weights(), self.arrays_key(), self.make())}

    def arrays_key(self) -> Hashable:
        """Everything except the events that the arrays of its part depend on."""
        own = {name: value for name, value in self.settings().items() if name not in self.ANSWER_SETTINGS}
        return self.name, msgspec.json.encode(own)

    def history_weights(self) -> HistoryWeights:
        """The weight of each event of a user's history."""
        return HistoryWeights(recency_days=in_days(self.recency) if self.recency else 365.0)

    def popularity_prior(self) -> Prior:
        """The weight of recent popularity in the score."""
        half_life_days = in_days(self.popularity_half_life) if self.popularity_half_life else 30.0
        return Prior(share=number(self.popularity_share or 0.0), steps=decay_steps(half_life_days))

    def learn_ranking(
        self, events: Interactions, as_of: int, *, earlier: LearnEarlier, progress: Progress
    ) -> CandidateRanker | None:
        """The ranker over the candidates of all parts, if `CAPABILITIES.has_ranking`."""
        return None
