"""Rules of one's own travel as source: cut out with what they reach, checked, pinned by hash, and never imported."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import rules_file
from known_worlds import DAY, NOW, checkerboard, facts_of

from tidemill import models
from tidemill.core.errors import RuleFailed, RuleRefused, SlateMismatch
from tidemill.models import SlateEngine, load_functions
from tidemill.models.slates.custom_rules import custom_rule

VIEWS = {"facts": ["updated_at", "price"]}


def a_slate() -> models.SlateSpec:
    return models.slate(
        retrieve=[models.nearest(5)],
        filter=[models.unseen(), rules_file.fresh],
        score=[models.relevance(), rules_file.cheap_first],
    )


def an_engine(functions=None, rules=None) -> SlateEngine:
    spec = a_slate()
    told = checkerboard()
    recommender = models.learn(models.cooccurrence(factors=2), told, NOW)
    updated = np.array([NOW - (5 if item < 6 else 200) * DAY for item in range(12)])
    columns = {
        ("facts", "updated_at"): (updated, np.ones(12, np.bool_)),
        ("facts", "price"): (np.where(np.arange(12) == 4, 5.0, 50.0), np.ones(12, np.bool_)),
    }
    rules = rules or spec.rules(VIEWS)
    functions = load_functions(rules, spec.modules()) if functions is None else functions
    return SlateEngine(recommender, rules, facts_of(recommender, told, columns=columns), functions)


def test_a_rule_is_cut_out_with_what_it_reaches() -> None:
    rule = custom_rule(rules_file.fresh)
    assert rule.path == "rules/fresh.py"
    assert rule.columns == ("updated_at",)
    assert "OLDEST_DAYS = 90.0" in rule.source
    assert "cheap_first" not in rule.source
    assert "math" not in rule.source
    assert "import math" in custom_rule(rules_file.cheap_first).source


def test_a_shipped_rule_filters_and_scores_as_it_did_at_home() -> None:
    shipped, at_home = an_engine(), an_engine({"fresh": rules_file.fresh, "cheap_first": rules_file.cheap_first})
    for user in ({"careful": True}, {}):
        question = (["i00", "i02"], [1, 2], 4)
        assert shipped.answer(*question, as_of=NOW, user=user) == at_home.answer(*question, as_of=NOW, user=user)
    found = shipped.answer(["i00", "i02"], [1, 2], 12, as_of=NOW, user={"careful": True})
    assert found.items[0] == "i04"
    assert {int(item[1:]) for item in found.items} == {1, 3, 4, 5}  # fresh and unseen; the fallback is filtered too
    assert found.short is not None
    assert "custom rules" in found.short


def test_a_rule_that_fails_among_the_items_of_the_fallback_hides_nothing_from_the_next_request() -> None:
    broken: list[int] = []

    def fresh(candidates):
        if broken and broken.pop() == 1:
            raise ValueError("broken")
        return np.ones(len(candidates), np.bool_)

    engine = an_engine({"fresh": fresh, "cheap_first": rules_file.cheap_first})
    question = (["i00", "i02"], [1, 2], 10)
    whole = engine.answer(*question, as_of=NOW)
    broken += [1, 0]  # the retrieved items pass
    with pytest.raises(RuleFailed):
        engine.answer(*question, as_of=NOW)
    assert engine.answer(*question, as_of=NOW) == whole


def test_the_facts_that_a_rule_reads_are_known_before_anything_runs() -> None:
    spec = a_slate()
    assert spec.facts(VIEWS) == {"facts": ("price", "updated_at")}
    with pytest.raises(SlateMismatch, match="updated_at"):
        spec.rules({"facts": ["update_at", "price"]})


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (rules_file.not_a_def, "not a named function"),
        (rules_file.make(), "inside another function"),
        (rules_file.reads_by_variable, "write the column out"),
        (rules_file.opens_a_file, "imports os"),
        (rules_file.takes_nothing, "has no parameter"),
        (np.isfinite, "not a named function"),
    ],
)
def test_what_cannot_be_shipped_is_refused(function, says) -> None:
    with pytest.raises(RuleRefused, match=says):
        models.slate(retrieve=[models.nearest(5)], filter=[function])


def test_another_source_than_the_pinned_one_is_refused() -> None:
    spec = a_slate()
    rules, sources = spec.rules(VIEWS), spec.modules()
    hashes = {path: hashlib.sha256(source).hexdigest() for path, source in sources.items()}
    assert set(load_functions(rules, sources, hashes)) == {"fresh", "cheap_first"}
    changed = sources | {"rules/fresh.py": sources["rules/fresh.py"] + b"\n"}
    with pytest.raises(RuleRefused, match="pins"):
        load_functions(rules, changed, hashes)
    with pytest.raises(RuleRefused, match="no module"):
        load_functions(rules, {}, hashes)
    evil = sources | {"rules/fresh.py": b"import subprocess\ndef fresh(c): return subprocess.run(['true'])\n"}
    with pytest.raises(RuleRefused, match="subprocess"):
        load_functions(rules, evil)


def test_a_rule_that_was_not_loaded_is_missed_at_once() -> None:
    with pytest.raises(RuleRefused, match="fresh"):
        an_engine({"cheap_first": rules_file.cheap_first})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda candidates: np.ones(1, bool), "shape"),
        (lambda candidates: np.ones(len(candidates)), "bool"),
        (lambda candidates: 1 / 0, "ZeroDivisionError"),
        (lambda candidates: candidates["nothing"], "KeyError"),
    ],
)
def test_a_filter_that_gives_nonsense_fails_by_name(wrong, says) -> None:
    with pytest.raises(RuleFailed, match=says):
        an_engine({"fresh": wrong, "cheap_first": rules_file.cheap_first}).answer(["i00"], [1], 3, as_of=NOW)


@pytest.mark.parametrize("value", [np.nan, np.inf, "text"])
def test_a_score_that_is_no_number_fails_by_name(value) -> None:
    engine = an_engine({"fresh": rules_file.fresh, "cheap_first": lambda found: np.full(len(found), value)})
    with pytest.raises(RuleFailed, match="cheap_first"):
        engine.answer(["i00"], [1], 3, as_of=NOW)
    assert len(an_engine().answer(["i00"], [1], 3, as_of=NOW)) == 3
