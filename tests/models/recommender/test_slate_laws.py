"""Laws of the slate for any catalogue and any question; each law is shown to catch a deliberately wrong variant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from known_worlds import World, worlds

from tidemill.models import Slate, SlateEngine
from tidemill.models.recommender.part_scores import Workspace

Law = Callable[[World, type[SlateEngine]], None]


def exactly_n(world: World, kind: type[SlateEngine]) -> None:
    """Exactly min(n, what may be shown), and `short` is said where that is fewer, and only there."""
    answer = world.ask(world.engine(kind))
    assert len(answer) == min(world.n, len(world.showable()))
    assert (answer.short is not None) == (len(answer) < world.n)
    assert len(answer.items) == len(answer.scores) == len(answer.reasons)
    assert all(answer.reasons) and np.isfinite(answer.scores).all()


def none_twice(world: World, kind: type[SlateEngine]) -> None:
    """No item stands twice in an answer."""
    items = world.ask(world.engine(kind)).items
    assert len(set(items)) == len(items)


def only_showable(world: World, kind: type[SlateEngine]) -> None:
    """Never a seen, excluded or ineligible item, none that a rule of one's own refused, none beside the candidates."""
    assert set(world.ask(world.engine(kind)).items) <= world.showable()


def always_the_same(world: World, kind: type[SlateEngine]) -> None:
    """The same question has the same answer, whatever was asked in between."""
    engine = world.engine(kind)
    first = world.ask(engine)
    others = list(world.facts.items)[:3]
    engine.answer(others, range(len(others)), 5)
    engine.answer([], [], 50)
    assert world.ask(engine) == first == world.ask(world.engine(kind))


LAWS: list[Law] = [exactly_n, none_twice, only_showable, always_the_same]


class CutsBeforeSeen(SlateEngine):
    """Wrong: takes the top n and drops what was seen from them, so answers come back short."""

    def answer(self, items, times, n, **more) -> Slate:
        unseen, self._unseen = self._unseen, False
        found = super().answer(items, times, n, **more)
        self._unseen = unseen
        kept = [i for i, item in enumerate(found.items) if item not in set(items)]
        return Slate(*([column[i] for i in kept] for column in (found.items, found.scores, found.reasons)), found.short)


class CountsTwice(SlateEngine):
    """Wrong: an item that two rules draw is a candidate twice."""

    def _retrieve(self, question):
        found = super()._retrieve(question)
        return np.concatenate((found, found[:1]))


class RepeatsCandidates(SlateEngine):
    """Wrong: candidates that came twice are shown twice."""

    def answer(self, items, times, n, **more) -> Slate:
        found = super().answer(items, times, n, **more)
        asked = more.get("candidates") or []
        again = [item for item in found.items if asked.count(item) > 1][:1]
        return Slate(found.items + again, found.scores + [0.0] * len(again), found.reasons + again, found.short)


class FallsBackOnAnything(SlateEngine):
    """Wrong: the fallback's chain forgets which items are eligible."""

    def _fallback(self, question, shown):
        self._plan.fallback = np.argsort(self._plan.place).astype(np.int32)
        self._open[~self._plan.allowed] = True
        return super()._fallback(question, shown)


class FallsBackUnfiltered(SlateEngine):
    """Wrong: rules of one's own guard what is drawn, and not the fallback."""

    def _fallback(self, question, shown):
        filters, self._filters = self._filters, []
        found = super()._fallback(question, shown)
        self._filters = filters
        return found


class ForgetsExclusions(SlateEngine):
    """Wrong: excluded items come back."""

    def answer(self, items, times, n, **more) -> Slate:
        return super().answer(items, times, n, **{**more, "exclude": ()})


class NoFallback(SlateEngine):
    """Wrong: what is drawn is all there is."""

    def _fallback(self, question, shown):
        return np.zeros(0, np.int32)


class NeverShort(SlateEngine):
    """Wrong: does not say why there are fewer."""

    def answer(self, items, times, n, **more) -> Slate:
        found = super().answer(items, times, n, **more)
        return Slate(found.items, found.scores, found.reasons, None)


class Remembers(SlateEngine):
    """Wrong: scores of the last question stay in the scratch memory."""

    def answer(self, items, times, n, **more) -> Slate:
        clean = Workspace.clean
        Workspace.clean = lambda scratch: None  # type: ignore[method-assign]
        try:
            return super().answer(items, times, n, **more)
        finally:
            Workspace.clean = clean  # type: ignore[method-assign]


WRONG: list[tuple[Law, type[SlateEngine]]] = [
    (exactly_n, CutsBeforeSeen),
    (exactly_n, NoFallback),
    (exactly_n, NeverShort),
    (none_twice, CountsTwice),
    (none_twice, RepeatsCandidates),
    (only_showable, FallsBackOnAnything),
    (only_showable, FallsBackUnfiltered),
    (only_showable, ForgetsExclusions),
    (always_the_same, Remembers),
]


def tried(law: Law, kind: type[SlateEngine], examples: int, *phases: Phase) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds())
    def run(world: World) -> None:
        law(world, kind)

    run()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_holds(law: Law) -> None:
    tried(law, SlateEngine, 80, Phase.generate, Phase.shrink)


@pytest.mark.parametrize(("law", "kind"), WRONG, ids=lambda thing: thing.__name__)
def test_law_catches_a_wrong_variant(law: Law, kind: type[SlateEngine]) -> None:
    with pytest.raises(AssertionError):
        tried(law, kind, 400, Phase.generate)
