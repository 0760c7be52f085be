"""Slate steps, to explain one recommendation: candidates, dropped items, score terms, each order and the fallback.

Nothing is computed twice: the steps are recorded while the engine runs normally.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.core.records.release import Rule, RuleSet
from tidemill.models.recommender.event_facts import ItemFactColumns
from tidemill.models.recommender.interactions import F32, I32, I64, Mask
from tidemill.models.recommender.recommender import Recommender
from tidemill.models.slates.shortlist import Shortlist
from tidemill.models.slates.slate_engine import Slate, SlateEngine, SlateQuery
from tidemill.models.slates.slate_plan import eligible_mask

#: Sources of dropped items besides the rules, and of candidates that the request names.
EXCLUDED, REQUESTED = "exclude of the request", "candidates of the request"

_NONE: I32 = np.zeros(0, np.int32)


@dataclass(frozen=True)
class DrawStep:
    """The candidates of one rule, unordered; `part` is the model part, empty if the rule counts events."""

    rule: str
    part: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class DropStep:
    """The items that one filter dropped, after the filters before it, and the number of items left."""

    rule: str
    items: tuple[str, ...]
    left: int


@dataclass(frozen=True)
class ScoreStep:
    """One item's score and its terms: each model part (or the ranking), popularity, custom rules."""

    item: str
    score: float
    pieces: dict[str, float]


@dataclass(frozen=True)
class OrderStep:
    """The best candidates before and after one ordering rule."""

    rule: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class SlateSteps:
    """The steps of one recommendation, in order; `answer` is the result of `SlateEngine.answer`."""

    n: int
    #: Distinct items of the history that the model contains, newest first, as many as are used.
    history: tuple[str, ...]
    draws: tuple[DrawStep, ...]
    #: All distinct candidates.
    candidates: tuple[str, ...]
    drops: tuple[DropStep, ...]
    #: Items that passed every filter, best score first; then those of the fallback.
    scores: tuple[ScoreStep, ...]
    orders: tuple[OrderStep, ...]
    #: The fallback rule, and its items.
    fallback: str
    filled: tuple[str, ...]
    answer: Slate

    def text(self, name: Callable[[str], str] = str, *, at_most: int = 10) -> str:
        """The steps as text, `at_most` items of each; `name` returns an item's display name."""
        from_history = ", ".join(name(item) for item in self.history[:at_most]) or "no events (cold start)"
        lines = [f"Request: {_n(self.n, 'item')} for the history {from_history}{_more(len(self.history), at_most)}", ""]
        lines += [f"1. Retrieved: {_n(len(self.candidates), 'distinct candidate')}"]
        lines += [f"   {len(draw.items):>5}  {_drawn_by(draw)}" for draw in self.draws]
        lines += ["", f"2. Filtered: {self.drops[-1].left if self.drops else len(self.candidates)} left"]
        for drop in self.drops:
            which = ", ".join(name(item) for item in drop.items[:3])
            lines.append(f"   {len(drop.items):>5}  dropped by {drop.rule}{': ' if which else ''}{which}"
                         f"{_more(len(drop.items), 3)}")  # fmt: skip
        lines += ["", "3. Scored: the best candidates and the terms of each score", *self._score_lines(name, at_most)]
        lines += ["", f"4. Ordered: {', '.join(order.rule for order in self.orders) or 'by score only'}"]
        for order in self.orders:
            was = {item: place for place, item in enumerate(order.before, 1)}
            moved = [(was[item], place, item) for place, item in enumerate(order.after[:at_most], 1)]
            lines += [f"   {old:>5} → {new:<3} {name(item)}" for old, new, item in moved if old != new]
        lines += ["", f"5. Fallback {self.fallback}: {_n(len(self.filled), 'item')}"]
        lines += [f"          {name(item)}" for item in self.filled[:at_most]]
        lines += ["", f"6. The slate{': ' + self.answer.short if self.answer.short else ''}"]
        rows = zip(self.answer.items, self.answer.scores, self.answer.reasons, strict=True)
        for place, (item, score, why) in enumerate(rows, 1):
            giver = why.removeprefix("goes with ")
            said = f"goes with {name(giver)}" if giver != why else why
            lines.append(f"   {place:>3}. {score:.3f}  {name(item)}: {said}")
        return "\n".join(lines)

    def _score_lines(self, name: Callable[[str], str], at_most: int) -> list[str]:
        shown = self.scores[:at_most]
        if not shown:
            return ["   nothing to score"]
        columns = list(dict.fromkeys(piece for score in shown for piece in score.pieces))
        widths = [max(len(column), 6) for column in columns]
        head = "   ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))
        lines = [f"   {'score':>6} = {head}"]
        for score in shown:
            said = [score.pieces.get(column, 0.0) for column in columns]
            row = " + ".join(f"{value:>{width}.3f}" for value, width in zip(said, widths, strict=True))
            lines.append(f"   {score.score:>6.3f} = {row}   {name(score.item)}")
        return lines


class SteppedEngine(SlateEngine):
    """A slate engine that records its steps: `steps` returns the result of `answer` and its steps.

    Use it to explain single recommendations; the server runs the engine without recording.
    """

    def __init__(
        self,
        recommender: Recommender,
        rules: RuleSet,
        facts: ItemFactColumns,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        heard = {name: self._heard(name, function) for name, function in (functions or {}).items()}
        super().__init__(recommender, rules, facts, heard)
        self._seen: frozenset[str] = frozenset()
        self._calls: list[tuple[str, I32, Any]] = []

    def steps(self, items: Sequence[str], times: Sequence[int], n: int, **asked: Any) -> SlateSteps:
        """The steps of one recommendation; the arguments and errors are those of `answer`."""
        self._seen = frozenset(items)
        answer = self.answer(items, times, n, **asked)
        return SlateSteps(
            n=n,
            history=self._ids(self._question.profile.history),
            draws=tuple(self._draws),
            candidates=self._ids(self._candidates),
            drops=tuple(self._drops),
            scores=self._scored(self._question),
            orders=tuple(self._orders),
            fallback=rule_words(self._rules.fallback or Rule(name="popular", args={"days": 30})),
            filled=self._ids(self._filled),
            answer=answer,
        )

    # ---- recording

    def _heard(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def heard(shortlist: Shortlist) -> Any:
            given = function(shortlist)
            self._calls.append((name, shortlist.codes, given))
            return given

        return heard

    def _answer(self, question: SlateQuery) -> Slate:
        self._question = question
        self._draws: list[DrawStep] = []
        self._candidates = self._passed = self._filled = _NONE
        self._drops: list[DropStep] = []
        self._orders: list[OrderStep] = []
        self._totals: dict[int, float] = {}
        self._own: dict[str, dict[int, float]] = {}
        self._filling = False
        return super()._answer(question)

    def _drawn(self, question: SlateQuery) -> list[tuple[str, I32]]:
        drawn = super()._drawn(question)
        near = [rule_words(rule) for rule in self._rules.retrieve if rule.name == "nearest"]
        counts = [rule for rule in self._rules.retrieve if "days" in rule.args]
        counted = {(rule.name, rule.args["days"]): rule_words(rule) for rule in counts}  # by the names in the plan
        n_near = len(drawn) - len(self._plan.drawn)
        words = [near[0] if len(near) == 1 else "nearest"] * n_near + list(counted.values())
        self._draws = [
            DrawStep(rule, source if place < n_near else "", self._ids(codes))
            for place, (rule, (source, codes)) in enumerate(zip(words, drawn, strict=True))
        ]
        return drawn

    def _retrieve(self, question: SlateQuery) -> I32:
        self._candidates = super()._retrieve(question)
        if question.only is not None:
            self._draws = [DrawStep(REQUESTED, "", self._ids(self._candidates))]
        return self._candidates

    def _score(self, question: SlateQuery, codes: I32) -> tuple[F32, F32]:
        if not self._filling:
            self._tell_drops(codes)
            self._passed = codes
        self._calls = []
        model, scores = super()._score(question, codes)
        self._totals |= zip(codes.tolist(), scores.tolist(), strict=True)
        for name, asked, given in self._calls:
            values = np.asarray(given, np.float32).tolist()
            self._own.setdefault(name, {}).update(zip(asked.tolist(), values, strict=True))
        return model, scores

    def _tell_drops(self, passed: I32) -> None:
        """For each dropped candidate, record the first rule that drops it."""
        dropped = self._candidates[~np.isin(self._candidates, passed)]
        left = len(self._candidates)
        for rule in self._rules.filter:
            if rule.name == "own":
                continue
            if rule.name == "unseen":
                refused = np.array([self._plan.items[code] in self._seen for code in dropped.tolist()], np.bool_)
            else:
                refused = ~eligible_mask(rule, self._plan.columns)[dropped]
            left -= int(refused.sum())
            self._drops.append(DropStep(rule_words(rule), self._ids(dropped[refused]), left))
            dropped = dropped[~refused]
        if len(dropped):
            self._drops.append(DropStep(EXCLUDED, self._ids(dropped), left - len(dropped)))

    def _pass(self, question: SlateQuery, codes: I32, model: F32) -> Mask:
        self._calls = []
        keep = super()._pass(question, codes, model)
        if not self._filling:
            standing = np.ones(len(codes), np.bool_)
            for name, _, given in self._calls:
                refused = standing & ~np.asarray(given)
                standing &= ~refused
                self._drops.append(DropStep(name, self._ids(codes[refused]), int(standing.sum())))
            self._passed = codes[keep]
        return keep

    def _arrange(self, rule: int, codes: I32, scores: F32, order: I64) -> I64:
        after = super()._arrange(rule, codes, scores, order)
        words = rule_words(self._rules.order[rule])
        self._orders.append(OrderStep(words, self._ids(codes[order]), self._ids(codes[after])))
        return after

    def _fallback(self, question: SlateQuery, shown: I32) -> I32:
        self._filling = True
        self._filled = super()._fallback(question, shown)
        return self._filled

    # ---- results

    def _ids(self, codes: I32 | Sequence[int]) -> tuple[str, ...]:
        items = self._plan.items
        return tuple([items[code] for code in codes])

    def _scored(self, question: SlateQuery) -> tuple[ScoreStep, ...]:
        totals = np.array([self._totals[code] for code in self._passed.tolist()], np.float32)
        order = np.lexsort((self._plan.place[self._passed], -totals))
        codes = np.concatenate((self._passed[order], self._filled))
        pieces = self._pieces(question, codes)
        return tuple(
            ScoreStep(
                self._plan.items[code], self._totals[code], {name: values[place] for name, values in pieces.items()}
            )
            for place, code in enumerate(codes.tolist())
        )

    def _pieces(self, question: SlateQuery, codes: I32) -> dict[str, list[float]]:
        """The terms of each score."""
        known = codes < self._recommender.n_items
        found: dict[str, F32] = {}
        if self._weight and self._share < 1:
            for name, values in self._said(question, codes[known]).items():
                found[name] = np.zeros(len(codes), np.float32)
                found[name][known] = values * ((1 - self._share) * self._weight)
        if self._weight and self._share:
            found["popularity"] = self._plan.prior[codes] * self._share * self._weight
        pieces = {name: values.tolist() for name, values in found.items()}
        return pieces | {name: [self._own[name][code] for code in codes.tolist()] for name, _ in self._scores}

    def _said(self, question: SlateQuery, codes: I32) -> dict[str, F32]:
        """The terms of the relevance: of each part, or of the ranking, which uses all parts."""
        if self._recommender.ranking is not None and question.profile.history:
            return {"ranking": self._relevance(question, codes)}
        return dict(question.profile.pieces(codes))


def rule_words(rule: Rule) -> str:
    """A rule as it is written in mill.py.

    >>> rule_words(Rule(name="trending", args={"days": 7, "n": 100}))
    'trending(days=7, n=100)'
    """
    if rule.name == "own":
        return str(rule.args["function"])
    said = [f'"{rule.args["column"]}"'] if "column" in rule.args else []
    said += [f"{name}={value!r}" for name, value in rule.args.items() if name not in ("column", "view")]
    return f"{rule.name}({', '.join(said)})"


def _drawn_by(draw: DrawStep) -> str:
    return f"{draw.part}, by {draw.rule}" if draw.part else draw.rule


def _n(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _more(count: int, at_most: int) -> str:
    return f" and {count - at_most:,} more" if count > at_most else ""
