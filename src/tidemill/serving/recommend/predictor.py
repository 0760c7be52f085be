"""Predictor of a recommender for one release and one state of its facts; the same for HTTP, batch and in-process use.

A predictor is immutable. For another release or changed facts, a new predictor is built in a thread and replaces this
one in a single assignment: so a recommendation comes from one release and one state of the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import RuleFailed
from tidemill.core.ports import Latest
from tidemill.core.records.prediction import ScoredItem
from tidemill.core.records.release import RuleSet
from tidemill.features import ItemFacts
from tidemill.models import Recommender, SlateEngine
from tidemill.models import Slate as SlateAnswer
from tidemill.release import Pointer
from tidemill.serving.live.prediction_id import prediction_id
from tidemill.serving.live.server_clock import ServerClock
from tidemill.serving.recommend.user_history import UserHistories, UserHistory

#: The number of newest items of the history that are logged with a prediction.
_LOGGED_HISTORY = 50
_json = msgspec.json.Encoder().encode


class RecommendationRequest(msgspec.Struct, frozen=True):
    """A request for recommendations: the user's surrogate, the number of items, excluded items and candidates."""

    subject: str
    n: int
    exclude: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    context: Mapping[str, Any] = {}


class PreparedRequest(msgspec.Struct, frozen=True):
    """A request with everything that its recommendation depends on, and the prediction id over it."""

    request: RecommendationRequest
    prediction_id: str
    history: UserHistory
    user: Mapping[str, Any]
    as_of: int
    off: bool


class Recommendation(msgspec.Struct, frozen=True):
    """Items, best first; `short` is the reason for fewer items than requested."""

    items: tuple[ScoredItem, ...]
    short: str | None
    #: `computed`; `fallback` where the switch is off or a custom score failed.
    kind: str


class PredictorSources(msgspec.Struct, frozen=True):
    """The sources that a predictor reads at request time."""

    latest: Latest
    histories: UserHistories
    clock: ServerClock
    slot_s: int
    #: Views of user features, passed to custom rules.
    user_views: tuple[str, ...] = ()


class Predictor:
    """Recommendations of one release. Not thread-safe."""

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
        #: The views whose facts it caches.
        self.views = tuple(sorted({*self.release.facts, self._counted}))
        self._facts, self._stamp = self._read_facts()
        self._engine = SlateEngine(recommender, self.release.rules, self._facts, functions)
        self._fallback = SlateEngine(recommender, fallback_rules(self.release.rules), self._facts, functions)
        self._unseen = any(rule.name == "unseen" for rule in self.release.rules.filter)
        self._own = any(rule.name == "own" for rule in (*self.release.rules.filter, *self.release.rules.score))

    def prepare(self, request: RecommendationRequest, *, off: bool = False) -> PreparedRequest:
        """Look up what the recommendation depends on; cheap, so that a repeat is detected before it is computed."""
        sources = self._sources
        history = sources.histories.history_of(request.subject)
        user = self._user(request.subject) if self._own else {}
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
            request.subject,
            history.items,
            history.times,
            user,
            request.n,
            request.exclude,
            request.candidates,
            request.context,
        )
        return PreparedRequest(request, name, history, user, as_of, off)

    def answer(self, prepared: PreparedRequest) -> Recommendation:
        """Exactly min(n, eligible unseen) distinct items, each with score and reason."""
        if prepared.off:
            return self._by_fallback(prepared)
        request, history = prepared.request, prepared.history
        try:
            slate = self._engine.answer(
                history.items,
                history.times,
                request.n,
                exclude=request.exclude,
                candidates=request.candidates,
                as_of=prepared.as_of,
                user=prepared.user,
                context=request.context,
            )
        except RuleFailed:
            # The fallback keeps the filters, so a failing filter fails there too and never exposes a hidden item.
            return self._by_fallback(prepared)
        return _recommendation(slate, "computed")

    def features(self, prepared: PreparedRequest) -> str:
        """The features of a recommendation, as JSON text for the prediction log."""
        history = prepared.history
        newest = history.items[-_LOGGED_HISTORY:]
        features = {"history": newest, "n_history": len(history.items), "facts": self._stamp, "user": prepared.user}
        return _json(features).decode()

    def warm_up(self) -> None:
        """Recommend for an unknown user, with slate and fallback, and for a user with a history of one item.

        A release that fails here must not go live.
        """
        unknown = self.prepare(RecommendationRequest("a" * 26, 20))
        history = UserHistory(self._recommender.items[:1], [unknown.as_of] * len(self._recommender.items[:1]))
        for prepared in (
            unknown,
            msgspec.structs.replace(unknown, off=True),
            msgspec.structs.replace(unknown, history=history),
        ):
            self.answer(prepared)
            self.features(prepared)

    def is_outdated(self, marks: Mapping[str, int]) -> bool:
        """Whether the facts, or the last day of the counts, have changed since this predictor read them; `marks` has
        the current change marks of its views.
        """
        return self._stamped([marks[view] for view in self.views]) != self._stamp

    def reloaded(self) -> Predictor:
        """A predictor of the same release with the current facts; may be called in another thread."""
        return Predictor(self._pointer, self._recommender.apart(), self._functions, self._sources)

    def _by_fallback(self, prepared: PreparedRequest) -> Recommendation:
        request, seen = prepared.request, prepared.history.items if self._unseen else ()
        slate = self._fallback.answer(
            (),
            (),
            request.n,
            exclude=[*request.exclude, *seen],
            candidates=request.candidates,
            as_of=prepared.as_of,
            user=prepared.user,
            context=request.context,
        )
        return _recommendation(slate, "fallback")

    def _user(self, subject: str) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for row in self._sources.latest.get_many([(view, subject) for view in self._sources.user_views]):
            features |= row or {}
        return features

    def _read_facts(self) -> tuple[ItemFacts, str]:
        """The facts and the stamp of their state, which is the same in every worker: marks belong to the store."""
        sources = self._sources
        while True:
            stamp = self._stamped(sources.latest.marks(self.views))
            facts = ItemFacts(
                sources.latest,
                self._recommender.items,
                views=self.release.facts,
                counted=self._counted,
                as_of=lambda: sources.clock.as_of(sources.slot_s),
            )
            if self._stamped(sources.latest.marks(self.views)) == stamp:
                return facts, stamp

    def _stamped(self, marks: Iterable[int]) -> str:
        """The stamp of a state of the facts: the change marks of its views, and the last day of the counts."""
        sources = self._sources
        return f"{'.'.join(map(str, marks))}:{-(-sources.clock.as_of(sources.slot_s) // 86_400_000_000)}"


def _recommendation(slate: SlateAnswer, kind: str) -> Recommendation:
    rows = zip(slate.items, slate.scores, slate.reasons, strict=True)
    return Recommendation(
        tuple([ScoredItem(item=item, score=score, reason=why) for item, score, why in rows]), slate.short, kind
    )


def fallback_rules(rules: RuleSet) -> RuleSet:
    """The rules of the declared fallback: no retrieval from the model, the same filters, ordering by the chain."""
    return RuleSet(retrieve=(), filter=rules.filter, fallback=rules.fallback)
