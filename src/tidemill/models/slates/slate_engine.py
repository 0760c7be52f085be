"""The slate engine: maps a history to exactly n items, each with score and reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tidemill.core.errors import RuleRefused
from tidemill.core.records.release import RuleSet
from tidemill.models.recommender.event_facts import DAY_US, ItemFactColumns
from tidemill.models.recommender.folded_in_user import FoldedInUser
from tidemill.models.recommender.interactions import F32, I32, I64, Mask
from tidemill.models.recommender.recommender import Recommender
from tidemill.models.slates.shortlist import Shortlist, mask_of, scores_of
from tidemill.models.slates.slate_plan import SlatePlan
from tidemill.models.slates.slate_spec import check_parts

_NONE: I32 = np.zeros(0, np.int32)
#: Number of best candidates that ordering rules use per requested item.
KEPT = 4


@dataclass(frozen=True)
class Slate:
    """Items best first with scores and reasons, and why there are fewer than requested (`None` if there are not)."""

    items: list[str]
    scores: list[float]
    reasons: list[str]
    short: str | None = None

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class SlateQuery:
    """One request, in codes."""

    profile: FoldedInUser
    n: int
    #: The number of codes that it may not show: seen ones under `unseen`, and excluded ones.
    n_banned: int
    #: Restricts the candidates to these; `None`: no restriction.
    only: I32 | None
    as_of: int
    user: Mapping[str, Any]
    context: Mapping[str, Any]


class SlateEngine:
    """Recommendations from one recommender, one rule set, and the facts at the time of the request.

    `functions` are the custom rules by name (`load_functions`). Raises `SlateMismatch` if the rules need something
    that the recommender lacks. It reuses scratch memory: use one per thread.
    """

    def __init__(
        self,
        recommender: Recommender,
        rules: RuleSet,
        facts: ItemFactColumns,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        check_parts(rules.retrieve, recommender.names)
        self._recommender, self._rules, self._facts = recommender, rules, facts
        self._filters = _loaded(rules.filter, functions or {})
        self._scores = _loaded(rules.score, functions or {})
        self._weight = np.float32(sum(rule.args["weight"] for rule in rules.score if rule.name == "relevance"))
        if not rules.score:
            self._weight = np.float32(1.0)
        self._nearest = [(rule.args["n"], rule.args.get("by")) for rule in rules.retrieve if rule.name == "nearest"]
        self._unseen = any(rule.name == "unseen" for rule in rules.filter)
        self._share = np.float32(recommender.prior.share)
        self._plan = SlatePlan(recommender, rules, facts)
        self._make_scratch()

    def answer(
        self,
        items: Sequence[str],
        times: Sequence[int],
        n: int,
        *,
        exclude: Sequence[str] = (),
        candidates: Sequence[str] | None = None,
        as_of: int = 0,
        user: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Slate:
        """Exactly min(`n`, eligible) items for a history of item ids and times (microseconds).

        No item is shown twice, none of `exclude`, and under `unseen` none of the history. `candidates` restricts the
        choice to these ids. `user` and `context` are passed to custom rules. Unknown ids are ignored.
        The same request under the same facts has the same result.
        """
        if self._facts.version != self._plan.version:
            self._plan = SlatePlan(self._recommender, self._rules, self._facts)
            self._make_scratch()
        code_of, learned = self._plan.codes.get, self._recommender.n_items
        history = [(code, time) for item, time in zip(items, times, strict=True) if (code := code_of(item)) is not None]
        known = [(code, time) for code, time in history if code < learned]
        profile = self._recommender.profile([code for code, _ in known], [time for _, time in known])
        banned = [code for item in exclude if (code := code_of(item)) is not None]
        if self._unseen:
            banned += [code for code, _ in history]
        only = None
        if candidates is not None:
            only = np.array(
                [code for item in dict.fromkeys(candidates) if (code := code_of(item)) is not None], np.int32
            )
        closed = np.array(banned, np.intp)
        self._open[closed] = False
        try:
            question = SlateQuery(profile, n, len(banned), only, as_of, user or {}, context or {})
            return self._answer(question)
        finally:
            self._open[closed] = self._plan.allowed[closed]

    def _make_scratch(self) -> None:
        #: Mask of the codes that this request may show.
        self._open: Mask = self._plan.allowed.copy()
        self._slot: I32 = np.zeros(self._plan.n, np.int32)
        #: Item features of the ranking, and their day.
        self._ranked: tuple[int, F32] | None = None

    def _answer(self, question: SlateQuery) -> Slate:
        if question.n < 1:
            return Slate([], [], [])
        codes, scores = self._best(question)
        if len(codes) < question.n and question.only is None:
            more = self._fallback(question, codes)
            codes, scores = np.concatenate((codes, more)), np.concatenate((scores, self._score(question, more)[1]))
        short = self._why_short(question, len(codes)) if len(codes) < question.n else None
        items = self._plan.items
        shown = codes.tolist()
        return Slate([items[code] for code in shown], scores.tolist(), self._reasons(question, codes), short)

    def _best(self, question: SlateQuery) -> tuple[I32, F32]:
        """At most n retrieved items that pass every filter, scored and sorted."""
        codes = self._retrieve(question)
        codes = codes[self._open[codes]]
        model, scores = self._score(question, codes)
        if self._filters and len(codes):
            keep = self._pass(question, codes, model)
            codes, scores = codes[keep], scores[keep]
        order = self._order(codes, scores, KEPT * question.n)[: question.n]
        return codes[order], scores[order]

    def _retrieve(self, question: SlateQuery) -> I32:
        """Distinct codes from every retrieval rule, or the given candidates."""
        if question.only is not None:
            return question.only
        drawn = [codes for _, codes in self._drawn(question)]
        if len(drawn) < 2:
            return drawn[0] if drawn else _NONE
        codes = np.concatenate(drawn)
        places = np.arange(len(codes), dtype=np.int32)
        self._slot[codes] = places
        last: Mask = self._slot[codes] == places
        return codes[last]

    def _drawn(self, question: SlateQuery) -> list[tuple[str, I32]]:
        """The candidates of each rule, with repeats: the model part or the counting rule, and codes."""
        drawn = [found for n, by in self._nearest for found in question.profile.drawn(n, by)]
        drawn += self._plan.drawn.items()
        return drawn

    def _score(self, question: SlateQuery, codes: I32) -> tuple[F32, F32]:
        """The model's scores (relevance blended with recent popularity), and the slate's."""
        model = self._plan.prior[codes] * self._share
        if self._share < 1:
            learned = self._recommender.n_items
            if self._plan.n == learned:
                model += (1 - self._share) * self._relevance(question, codes)
            else:  # items newer than the bundle have only popularity
                known = codes < learned
                model[known] += (1 - self._share) * self._relevance(question, codes[known])
        scores = model * self._weight
        if self._scores and len(codes):
            shortlist = self._shortlist(question, codes, model)
            for name, function in self._scores:
                scores = scores + scores_of(name, function, shortlist)
        return model, scores

    def _relevance(self, question: SlateQuery, codes: I32) -> F32:
        """The relevance of trained items: by the ranking if there is one, else by the weighted sum of the parts."""
        ranking = self._recommender.ranking
        if ranking is None or not question.profile.history:
            return question.profile.relevance(codes)
        as_of = question.as_of or self._recommender.as_of
        day = as_of // DAY_US
        if self._ranked is None or self._ranked[0] != day:
            self._ranked = (day, ranking.of_items(self._facts.counts, as_of))
        return ranking.scores(question.profile, self._ranked[1], codes, as_of)

    def _pass(self, question: SlateQuery, codes: I32, model: F32) -> Mask:
        shortlist = self._shortlist(question, codes, model)
        keep = np.ones(len(codes), np.bool_)
        for name, function in self._filters:
            keep &= mask_of(name, function, shortlist)
        return keep

    def _shortlist(self, question: SlateQuery, codes: I32, model: F32) -> Shortlist:
        return Shortlist(
            ids=self._plan.ids,
            codes=codes,
            scores=model,
            columns=self._plan.columns,
            as_of=question.as_of,
            user=question.user,
            context=question.context,
        )

    def _order(self, codes: I32, scores: F32, kept: int) -> I64:
        """Indices of the `kept` best candidates, in order; ties are broken by the fallback order."""
        best = (-scores).argpartition(kept)[:kept] if len(codes) > kept else np.arange(len(codes))
        order: I64 = best[np.lexsort((self._plan.place[codes[best]], -scores[best]))]
        for rule in range(len(self._plan.groups)):
            order = self._arrange(rule, codes, scores, order)
        return order

    def _arrange(self, rule: int, codes: I32, scores: F32, order: I64) -> I64:
        """The order after one ordering rule."""
        groups, strength = self._plan.groups[rule]
        return order[_spread(scores[order], groups[codes[order]], strength)]

    def _fallback(self, question: SlateQuery, shown: I32) -> I32:
        """The next items of the fallback order that are not shown yet, may be shown, and pass every filter."""
        chain, need = self._plan.fallback, question.n - len(shown)
        found: list[I32] = []
        start, size = 0, need + len(shown) + question.n_banned
        self._open[shown] = False
        try:
            while need > 0 and start < len(chain):
                block = chain[start : start + size]
                block = block[self._open[block]]
                if self._filters and len(block):
                    block = block[self._pass(question, block, self._score(question, block)[0])]
                found.append(block[:need])
                need -= len(found[-1])
                start, size = start + size, size * 2
        finally:
            self._open[shown] = True
        return np.concatenate(found) if found else _NONE

    def _reasons(self, question: SlateQuery, codes: I32) -> list[str]:
        learned, items = self._recommender.n_items, self._plan.items
        known = codes if self._plan.n == learned else np.minimum(codes, learned - 1)
        because = question.profile.because(known).tolist()
        return [
            f"goes with {items[giver]}" if giver >= 0 and code < learned else self._plan.reason(code)
            for code, giver in zip(codes.tolist(), because, strict=True)
        ]

    def _why_short(self, question: SlateQuery, n: int) -> str:
        plan = self._plan
        if question.only is not None:
            return f"{n} of the {len(question.only)} candidates in the catalogue may be shown"
        left = int(np.count_nonzero(self._open))
        own = f", and {left - n} are dropped by custom rules" if left > n else ""
        return f"of {plan.n} items {plan.n_allowed} are eligible, {left} of them neither seen nor excluded{own}"


def _loaded(rules: Sequence[Any], functions: Mapping[str, Callable[..., Any]]) -> list[tuple[str, Callable[..., Any]]]:
    names = [rule.args["function"] for rule in rules if rule.name == "own"]
    missing = sorted(set(names) - set(functions))
    if missing:
        raise RuleRefused(f"custom rules of the slate are not loaded: {', '.join(missing)}")
    return [(name, functions[name]) for name in names]


def _spread(scores: F32, groups: I32, strength: float) -> I64:
    """A new order of candidates that are sorted by score: the k-th of a group keeps strength^k of its score.

    Greedy re-ranking with a multiplicative penalty gives the same list: within a group items are taken by score, so
    the k-th one is always penalised k times.
    """
    by_group = groups.argsort(kind="stable")
    grouped = groups[by_group]
    nth = np.arange(len(groups)) - grouped.searchsorted(grouped)  # how many of its group come before it
    nth[: grouped.searchsorted(0)] = 0
    penalty = np.empty(len(groups), np.float32)
    penalty[by_group] = _penalties(strength, len(groups))[nth]
    spread = np.where(scores > 0, scores * penalty, scores / penalty)
    return (-spread).argsort(kind="stable")


@lru_cache(maxsize=16)
def _penalties(strength: float, n: int) -> F32:
    """The factors of the first `n` of a group, float32 (n), never zero."""
    factors: F32 = np.maximum(np.float32(strength) ** np.arange(n), np.float32(1e-30)).astype(np.float32)
    return factors
