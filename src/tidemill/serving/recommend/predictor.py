"""Predictor of a recommender for one release and one state of its facts; the same for HTTP, batch and in-process use.

A predictor never changes. For another release, or for changed facts, another predictor is made in a thread and replaces
this one by one assignment: so a recommendation comes from one release and from one state of the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import RuleFailed
from tidemill.core.ports import Latest
from tidemill.core.records.release import RuleSet
from tidemill.core.records.serving import ScoredItem
from tidemill.features import ItemFacts
from tidemill.models import Recommender, SlateEngine
from tidemill.models import Slate as SlateAnswer
from tidemill.release import Pointer
from tidemill.serving.live.prediction_id import prediction_id
from tidemill.serving.live.server_clock import ServerClock
from tidemill.serving.recommend.user_history import UserHistories, UserHistory

#: At most this many newest items of the history are kept with a prediction.
_LOGGED_HISTORY = 50
_json = msgspec.json.Encoder().encode


class RecommendationRequest(msgspec.Struct, frozen=True):
    """A question: the subject's surrogate, how many items, and what narrows the choice."""

    subject: str
    n: int
    exclude: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    context: Mapping[str, Any] = {}


class PreparedRequest(msgspec.Struct, frozen=True):
    """A question with everything that its answer depends on, and the id that this gives."""

    asked: RecommendationRequest
    prediction_id: str
    history: UserHistory
    user: Mapping[str, Any]
    as_of: int
    off: bool


class Recommendation(msgspec.Struct, frozen=True):
    """Items best first; `short` says why there are fewer than asked for."""

    items: tuple[ScoredItem, ...]
    short: str | None
    #: `computed`; `fallback` where the switch is off or a score of the user's own failed.
    kind: str


class PredictorSources(msgspec.Struct, frozen=True):
    """What a predictor reads at answer time."""

    latest: Latest
    histories: UserHistories
    clock: ServerClock
    slot_s: int
    #: Views of the subject's own features, handed to rules of one's own.
    user_views: tuple[str, ...] = ()


class Predictor:
    """One release at work. Not for use by two threads at once."""

    def __init__(
        self,
        pointer: Pointer,
        recommender: Recommender,
        functions: Mapping[str, Callable[..., Any]],
        sources: PredictorSources,
    ) -> None:
        self.release = pointer.release
        self.name = pointer.release.name
        self.assignment = pointer.assignment
        self._pointer = pointer
        self._recommender = recommender
        self._functions = functions
        self._sources = sources
        self._counted = f"{self.release.model}.items"
        #: The views that it keeps facts of.
        self.views = tuple(sorted({*self.release.facts, self._counted}))
        self._facts, self._stamp = self._read_facts()
        self._engine = SlateEngine(recommender, self.release.rules, self._facts, functions)
        self._fallback = SlateEngine(recommender, fallback_rules(self.release.rules), self._facts, functions)
        self._unseen = any(rule.name == "unseen" for rule in self.release.rules.filter)
        self._own = any(rule.name == "own" for rule in (*self.release.rules.filter, *self.release.rules.score))

    def prepare(self, asked: RecommendationRequest, *, off: bool = False) -> PreparedRequest:
        """Look up what the answer depends on; cheap beside answering, so a repeat is known before it is computed."""
        sources = self._sources
        history = sources.histories.history_of(asked.subject)
        user = self._user(asked.subject) if self._own else {}
        as_of = sources.clock.as_of(sources.slot_s)
        name = prediction_id(
            self.name,
            self.release.bundle,
            self.assignment.deployment,
            self.assignment.arm,
            "off" if off else "on",
            sources.clock.slot(sources.slot_s),
            as_of,
            self._stamp,
            asked.subject,
            history.items,
            history.times,
            user,
            asked.n,
            asked.exclude,
            asked.candidates,
            asked.context,
        )
        return PreparedRequest(asked, name, history, user, as_of, off)

    def answer(self, prepared: PreparedRequest) -> Recommendation:
        """Exactly min(n, eligible unseen) items, none twice, each with score and reason."""
        if prepared.off:
            return self._by_fallback(prepared)
        asked, history = prepared.asked, prepared.history
        try:
            found = self._engine.answer(
                history.items,
                history.times,
                asked.n,
                exclude=asked.exclude,
                candidates=asked.candidates,
                as_of=prepared.as_of,
                user=prepared.user,
                context=asked.context,
            )
        except RuleFailed:
            # A failing filter fails in the fallback too, which keeps the filters: nothing is shown that it guards.
            return self._by_fallback(prepared)
        return _answer(found, "computed")

    def features(self, prepared: PreparedRequest) -> str:
        """What the answer was made from, as JSON text for the prediction log."""
        history = prepared.history
        kept = history.items[-_LOGGED_HISTORY:]
        said = {"history": kept, "n_history": len(history.items), "facts": self._stamp, "user": prepared.user}
        return _json(said).decode()

    def warm_up(self) -> None:
        """Answer for a stranger, by slate and by fallback: what cannot do that must not go live."""
        for off in (False, True):
            prepared = self.prepare(RecommendationRequest("a" * 26, 20), off=off)
            self.answer(prepared)
            self.features(prepared)

    def is_outdated(self, marks: Mapping[str, int]) -> bool:
        """Whether the facts, or the day that counts run to, are no longer what this predictor read; `marks` are the
        present marks of its views.
        """
        return self._stamped([marks[view] for view in self.views]) != self._stamp

    def reloaded(self) -> Predictor:
        """A predictor of the same release on the facts as they are now; may be made in another thread."""
        apart = self._recommender.apart()
        return Predictor(self._pointer, apart, self._functions, self._sources)

    def _by_fallback(self, prepared: PreparedRequest) -> Recommendation:
        asked, seen = prepared.asked, prepared.history.items if self._unseen else ()
        found = self._fallback.answer(
            (),
            (),
            asked.n,
            exclude=[*asked.exclude, *seen],
            candidates=asked.candidates,
            as_of=prepared.as_of,
            user=prepared.user,
            context=asked.context,
        )
        return _answer(found, "fallback")

    def _user(self, subject: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for row in self._sources.latest.get_many([(view, subject) for view in self._sources.user_views]):
            found |= row or {}
        return found

    def _read_facts(self) -> tuple[ItemFacts, str]:
        """Facts and the stamp of the state that was read: the same in every worker, since marks are the store's."""
        sources = self._sources
        while True:
            before = self._stamped(sources.latest.marks(self.views))
            facts = ItemFacts(
                sources.latest,
                self._recommender.items,
                views=self.release.facts,
                counted=self._counted,
                as_of=lambda: sources.clock.as_of(sources.slot_s),
            )
            if self._stamped(sources.latest.marks(self.views)) == before:
                return facts, before

    def _stamped(self, marks: Iterable[int]) -> str:
        """Names a state of the facts: the marks of its views, and the day that counts run to."""
        sources = self._sources
        return f"{'.'.join(map(str, marks))}:{-(-sources.clock.as_of(sources.slot_s) // 86_400_000_000)}"


def _answer(found: SlateAnswer, kind: str) -> Recommendation:
    rows = zip(found.items, found.scores, found.reasons, strict=True)
    return Recommendation(
        tuple([ScoredItem(item=item, score=score, reason=why) for item, score, why in rows]), found.short, kind
    )


def fallback_rules(rules: RuleSet) -> RuleSet:
    """The declared fallback alone: nothing is drawn from the model, the filters stay, and the chain gives the order."""
    return RuleSet(retrieve=(), filter=rules.filter, fallback=rules.fallback)
