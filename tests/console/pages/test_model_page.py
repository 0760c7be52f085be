from __future__ import annotations

import html as markup
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import pytest
from runs_to_show import evaluation

from tidemill.console import model_page
from tidemill.console.state.release_outcomes import OutcomeStore
from tidemill.core.errors import NoSuchRelease
from tidemill.core.identity.account import Account
from tidemill.loop.state.ledger_projection import LedgerProjection

DAY = date(2018, 9, 7)


def page(mill: Any, model: str = "for_you", number: int | None = None, **more: Any) -> Any:
    return model_page(mill.stores(**more), LedgerProjection(mill.ledger), model, number)


def test_versions_are_listed_newest_first_with_what_became_of_them(lively: Any) -> None:
    made = page(lively)
    assert [(one.name, one.state, one.same_bundle) for one in made.versions] == [
        ("for_you@3", "candidate", True),
        ("for_you@2", "champion", False),
        ("for_you@1", "former", False),
    ]
    assert made.shown.name == "for_you@2"
    assert made.headline == "for_you@2 is live, trained on data through 10 Sep 2018."


def test_another_release_is_shown_by_number_and_one_that_is_not_there_names_the_nearest(lively: Any) -> None:
    assert page(lively, number=1).shown.name == "for_you@1"
    with pytest.raises(NoSuchRelease, match="for_you@"):
        page(lively, number=9)
    with pytest.raises(NoSuchRelease, match="did you mean `for_you`"):
        page(lively, "for_yuo")


def test_quality_stands_beside_popularity_with_intervals_and_small_groups_are_hidden(lively: Any) -> None:
    groups = {part.users: part for part in page(lively).quality}
    warm = groups["warm"]
    assert [one.name for one in warm.figures] == ["hit_rate@10", "recall@10", "ndcg@10"]
    assert [one.name for one in warm.further] == ["hit_rate@20", "recall@20", "ndcg@20"]
    assert warm.figures[0].difference.low > 0
    assert (groups["tiny"].n_users, groups["tiny"].figures, groups["tiny"].further) == (4, (), ())


def test_figures_of_a_small_group_are_on_no_page(lively: Any, get: Callable[..., Any]) -> None:
    assert "0.500" not in get(lively.stores(), "/models/for_you").text
    twin = json.loads(get(lively.stores(), "/models/for_you.json").body)
    tiny = next(part for part in twin["quality"] if part["users"] == "tiny")
    assert tiny["figures"] == []
    assert all(part["users"] != "tiny" for part in twin["evaluation"]["slices"])
    shown = twin["shown"]["card"]["evaluation"]
    assert shown is None or all(part["users"] != "tiny" for part in shown["slices"])
    assert twin["card"]["evaluation"] is None or all(
        part["users"] != "tiny" for part in twin["card"]["evaluation"]["slices"]
    )


def test_parts_stand_worst_first_and_small_ones_say_so(lively: Any, get: Callable[..., Any]) -> None:
    made = page(lively).parts
    assert made.metric == "ndcg@10"
    assert [one.name for one in made.parts] == [
        "over a year ago", "0 events", "Home & <Garden>", "1 event", "2-4 events", "10+ events", "Toys",
    ]  # fmt: skip
    assert [(one.name, one.n_users, one.difference, one.p) for one in made.parts[-2:]] == [
        ("10+ events", 23, None, None), ("Toys", 4, None, None),
    ]  # fmt: skip
    text = get(lively.stores(), "/models/for_you").text
    assert "7 slices of the test set, worst first</summary>" in text
    table = text[text.index('<table class="finer">') :]
    table = table[: table.index("</table>")]
    assert table.count("too few users<") == 2
    assert table.index("over a year ago") < table.index("Home &amp; &lt;Garden&gt;") < table.index("10+ events")
    assert '<td class="num down">−' in table
    assert "below 0.001" in table


def test_exposure_stands_by_groups_of_items(lively: Any, get: Callable[..., Any]) -> None:
    text = get(lively.stores(), "/models/for_you").text
    assert "Exposure of 4 item groups</summary>" in text
    table = text[text.index('<table class="compare exposed">') :]
    table = table[: table.index("</table>")]
    assert (
        table.index("grouped by popularity")
        < table.index("tail")
        < table.index("grouped by item group")
        < table.index("Magazines")
    )
    assert "1.794 [1.694, 1.894]" in table  # the head: 61% of what is shown, 34% of what is taken
    assert table.count("no interactions") == 1


def test_a_card_from_before_there_were_parts_has_no_table_of_them(mill: Any, get: Callable[..., Any]) -> None:
    mill.publish(mill.increment("reviews", DAY))
    older = msgspec.structs.replace(evaluation(0.08), parts=(), exposure=(), worst="")
    mill.learn("for_you", 1, DAY, older)
    text = get(mill.stores(), "/models/for_you?release=1").text
    assert "3 hyperparameter settings evaluated on validation days" in text
    for word in ('class="finer"', "exposed", "slices of the test set", "Exposure of"):
        assert word not in text


def test_the_card_and_what_it_learned_from_are_shown(lively: Any, get: Callable[..., Any]) -> None:
    made = page(lively)
    text = markup.unescape(get(lively.stores(), "/models/for_you").text)
    for wanted in [
        made.card.helps,
        made.card.could_harm,
        "88,318 rows of 72,098 users and 2,428 items",
        "table:items@3",
        "half_life_days",
        "365",
        'eligible("in_stock", missing=True)',
        'diverse(by="category", strength=0.7)',
        "popular(days=30, n=100)",
        ["tidemill", "promote", "for_you@3"][-1],
        made.shown.bundle[:12],
        "3 hyperparameter settings evaluated on validation days",
    ]:
        assert wanted in text


def test_expected_stands_against_actual_by_release_and_position(lively: Any) -> None:
    made = page(lively)
    assert [one.release for one in made.taken] == ["for_you@2", "for_you@1"]
    two = made.taken[0]
    assert two.whole.shown == 400
    assert two.whole.expected == pytest.approx(0.0935 * 0.55 + 0.02)
    assert [one.position for one in two.positions] == list(range(1, 11))
    assert sum(one.taken for one in two.positions) >= two.whole.taken
    assert two.positions[0].rate > two.positions[9].rate


def test_few_answers_are_counted_and_say_nothing(mill: Any, get: Callable[..., Any]) -> None:
    mill.publish(mill.increment("reviews", DAY))
    mill.learn("for_you", 1, DAY, None)
    mill.feed_back(24)  # 16 by the second release, 8 by the first
    two, one = page(mill).taken
    assert (two.answers, two.whole is None, len(two.positions)) == (16, False, 10)
    assert (one.answers, one.whole, one.positions) == (8, None, ())
    assert "8 recommendations so far: too few to report." in get(mill.stores(), "/models/for_you").text


def test_predictions_of_another_model_are_not_counted(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    mill.learn("similar", 1, DAY, None)
    before = page(mill, "similar").taken
    mill.feed_back(60)  # all of for_you
    assert (before, page(mill, "similar").taken) == ((), ())
    assert page(mill).taken != ()


def test_the_sums_are_kept_until_the_log_has_grown(lively: Any) -> None:
    asked: list[str] = []

    def table(name: str, *window: Any) -> Any:
        asked.append(name)
        return lively.logged(name, *window)

    stores, story, sums = lively.stores(table=table), LedgerProjection(lively.ledger), OutcomeStore()
    told = story.catch_up()
    first = sums.outcomes(stores, told, "for_you")
    assert sums.outcomes(stores, told, "for_you") is first
    assert asked == ["predictions", "outcomes"]
    told.kept["outcomes"].rows *= 2
    assert sums.outcomes(stores, told, "for_you") == first
    assert len(asked) == 4


def test_a_declared_model_without_anything_has_a_page(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    made = page(mill)
    assert (made.headline, made.versions, made.shown) == ("for_you has not been trained yet.", (), None)
    assert made.commands[0].text == "tidemill train for_you"
    assert get(mill.stores(), "/models/for_you").status == 200


def test_a_release_that_was_not_measured_says_so(mill: Any, get: Callable[..., Any]) -> None:
    mill.publish(mill.increment("reviews", DAY))
    mill.promote(mill.learn("for_you", 1, DAY, None).name)
    assert "Not evaluated" in get(mill.stores(), "/models/for_you").text


def test_the_commands_fit_what_is_live(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    for seed in (1, 2):
        mill.promote(mill.learn("for_you", seed, DAY, None).name)
    assert [one.text.split()[1] for one in page(mill).commands] == ["train", "rollback", "off"]
    mill.releases.rollback("for_you")
    (mill.serving / "for_you" / "switch.json").write_text('{"off": true}')
    made = page(mill)
    assert [one.text for one in made.commands][1:] == [
        "tidemill promote for_you@2",
        "tidemill rollback for_you",
        "tidemill on for_you",
    ]
    assert made.headline == "for_you is switched off."


def test_what_was_checked_stands_with_who_promoted(mill: Any, get: Callable[..., Any]) -> None:
    first = mill.learn("for_you", 1, DAY, None)
    mill.ledger.append(  # as an older version wrote it
        "promote", about="model:for_you", refs_out=[f"release:{first.name}"],
        details={"from": "", "why": "promote", "deployment": "0" * 16},
    )  # fmt: skip
    second = mill.learn("for_you", 2, DAY, None)
    mill.promote(second.name, account=Account(name="ada").doing("refresh"))
    made = page(mill)
    assert [(change.account, change.release) for change in made.changes] == [
        ("ada (refresh)", second.name),
        ("mara", first.name),
    ]
    assert made.live.by == "ada (refresh)" and made.changes[1].verdict is None
    verdict = made.live.verdict
    assert verdict == made.changes[0].verdict
    assert [one.name for one in verdict.of("warning")] == ["evaluation"]
    text = markup.unescape(get(mill.stores(), "/models/for_you").text)
    assert text.count(verdict.summary) == 2 and text.count('<details class="gate">') == 1
    assert all(f"<b>{one.name}</b>: {one.reason}." in text for one in verdict.checks)
    told = json.loads(get(mill.stores(), "/models/for_you.json").text)["live"]["verdict"]
    assert [one["result"] for one in told["checks"]] == [one.result for one in verdict.checks]


def test_pages_that_are_not_there_answer_404_with_the_nearest(lively: Any, get: Callable[..., Any]) -> None:
    reply = get(lively.stores(), "/models/for_yuo.json")
    assert reply.status == 404
    assert json.loads(reply.body)["error"]["code"] == "TM604"
    assert "did you mean `for_you`" in get(lively.stores(), "/models/for_yuo").text
    assert get(lively.stores(), "/models/for_you?release=77").status == 404


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><svg onload=x>', "{{ 1001*1001 }}", "</style><b>x"])
def test_markup_in_a_card_is_shown_as_text(mill: Any, get: Callable[..., Any], text: str) -> None:
    mill.publish(mill.increment("reviews", DAY))
    made = mill.learn("for_you", 1, DAY, None, helps=text, could_harm=text, learner=text, parameters={text: text})
    mill.promote(made.name)
    reply = get(mill.stores(), "/models/for_you")
    page_text = reply.text
    assert reply.status == 200
    assert markup.unescape(page_text).count(text) >= 4
    if "<" in text:
        assert text not in page_text


def test_what_makes_figures_doubtful_is_said_and_what_has_no_mean_has_none(mill: Any, get: Callable[..., Any]) -> None:
    mill.publish(mill.increment("reviews", DAY))
    measured = mill.learn("for_you", 1, DAY, evaluation(0.08)).card.evaluation
    text = "the test covers 1.0 days: <b>so few</b> cannot tell"
    doubtful = msgspec.structs.replace(
        measured, novelty=None, diversity=None, worst="no part is worse", warnings=(text,)
    )
    mill.learn("for_you", 2, DAY, doubtful)
    html = get(mill.stores(), "/models/for_you?release=2").text
    assert "The test covers 1.0 days: &lt;b&gt;so few&lt;/b&gt; cannot tell." in html
    assert "No part is worse." in html
    assert "<dt>Novelty</dt><dd>-</dd>" in html
    assert "<dt>Novelty</dt><dd>9.8 bits</dd>" in get(mill.stores(), "/models/for_you?release=1").text


def test_parts_with_few_users_are_in_no_twin(mill: Any, get: Callable[..., Any]) -> None:
    mill.publish(mill.increment("reviews", DAY))
    measured = mill.learn("for_you", 1, DAY, evaluation(0.08)).card.evaluation
    tiny = next(part for part in measured.slices if part.users == "tiny")
    mill.learn("for_you", 2, DAY, msgspec.structs.replace(measured, parts=(tiny,)))
    twin = json.loads(get(mill.stores(), "/models/for_you.json?release=2").body)
    assert twin["evaluation"]["parts"] == []
    assert twin["shown"]["card"]["evaluation"]["parts"] == []
