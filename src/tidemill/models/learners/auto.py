"""Automatic learner choice (AutoML) over all recommender learners; the search is in `training.recommender`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tidemill.core.errors import SettingRefused, nearest
from tidemill.models.learners.learner import Capabilities, LearnerSpec
from tidemill.models.learners.registry import (
    auto_learners,
    check_registered,
    distribution_of,
    is_known,
    learner_names,
)
from tidemill.models.learners.settings import Count, Positive

#: Which candidate is selected: the simplest that no other beats significantly, or the one with the best mean score.
Prefer = Literal["simple", "best"]
#: The least time limit, and the number of events for each minute of it.
LEAST_MINUTES, EVENTS_A_MINUTE = 2.0, 100_000


class Auto(LearnerSpec, frozen=True, kw_only=True, tag="auto"):
    """All learners, cheapest first, within a time limit; a costlier one is chosen only if significantly better."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(in_blend=False)

    #: By default 2, for a recommender of more than 200,000 events one for every 100,000.
    minutes: Positive | None = None
    #: Names of the learners to try; empty for all.
    only: tuple[str, ...] = ()
    #: `simple`: a costlier learner is selected only if it is significantly better; `best`: if its mean score is better.
    prefer: Prefer = "simple"
    #: Tabular models only: number of fits of each ensemble of trees, with different seeds, that are averaged.
    seeds: Count = 1

    def time_limit(self, n_events: int = 0) -> float:
        """The minutes for so many events.

        >>> Auto().time_limit(100_000), Auto().time_limit(810_128), Auto(minutes=5.0).time_limit(810_128)
        (2.0, 9.0, 5.0)
        """
        return self.minutes or max(LEAST_MINUTES, float(-(-n_events // EVENTS_A_MINUTE)))

    def parts(self) -> frozenset[str]:
        """All possible parts; the slate is checked again when the best learner is known."""
        found = frozenset({"popularity"})
        return found.union(*(kind.from_settings({}).parts() for kind in learners_to_try(self.only).values()))


def learners_to_try(only: tuple[str, ...]) -> dict[str, type[LearnerSpec]]:
    """The learners with these names, or all, cheapest first; learners without a defined order come last.

    Raises `SettingRefused` for an unknown name.
    """
    for name in only:
        if name == "auto" or not is_known(name):
            raise SettingRefused(f"auto(only={list(only)!r}): no learner {name!r}", tip=nearest(name, learner_names()))
    return auto_learners(only)


def learner_packages(spec: LearnerSpec) -> list[str]:
    """Name and version of each package, other than tidemill, whose learner `spec` may use, sorted.

    Raises `SettingRefused` if another class is registered under its name.
    """
    names = [spec.name, *(member.name for member in spec.blend_members().values())]
    if isinstance(spec, Auto):
        names += learners_to_try(spec.only)
    for one in (spec, *spec.blend_members().values()):
        check_registered(one)
    return sorted({package for name in names if (package := distribution_of(name))})


def auto(
    *,
    minutes: float | None = None,
    only: tuple[str, ...] | list[str] = (),
    prefer: Prefer = "simple",
    seeds: int = 1,
) -> Auto:
    """Automatic choice of the learner: all are tried, cheapest first; on a tie the simplest is kept.

    `minutes` is the time limit, by default 2, for a recommender of more than 200,000 events one for every 100,000. A
    note says what the simplest costs compared with the best; `prefer="best"` selects the latter. With `seeds` a tabular
    model averages so many fits of its trees, which lowers training noise and takes as many times longer.
    """
    return Auto(minutes=minutes, only=tuple(only), prefer=prefer, seeds=seeds)
