from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tidemill.console import loop_page
from tidemill.core.identity.account import Account
from tidemill.core.records.ingest import Failure, Verdict
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.loop.state.server_status import served

DAY = date(2018, 9, 7)
BAD = Failure(
    table="reviews",
    check="between",
    column="rating",
    n=61,
    observed=0.7,
    low=0.95,
    high=1.0,
    false_alarms=None,
    severity="hold",
    says="70% of 61 ratings lie between 1 and 5.",
)


def page(mill: Any, **more: Any) -> Any:
    return loop_page(mill.stores(**more), LedgerProjection(mill.ledger))


def room(made: Any, name: str) -> Any:
    return next(one for one in made.rooms if one.name == name)


def test_an_empty_mill_waits_in_every_room_and_says_how_to_begin(mill: Any) -> None:
    mill.open()
    made = page(mill)
    assert {one.state for one in made.rooms} == {"waits"}
    assert {one.at for one in made.rooms} == {None}
    assert [need.commands[0].text for need in made.needs] == ["tidemill run --backfill"]
    assert not made.closed


def test_the_rooms_stand_in_the_order_of_the_flow(lively: Any) -> None:
    order = ["sources", "lake", "checks", "features", "models", "training", "release", "serving", "feedback"]
    assert [one.name for one in page(lively).rooms] == order


def test_a_mill_that_has_lived_shows_what_is_live_and_that_the_loop_closes(lively: Any) -> None:
    made = page(lively)
    (live,) = made.live
    assert (live.release, live.by, live.serving.here, live.serving.workers) == ("for_you@2", "mara", 2, 2)
    assert (live.quality.metric, live.quality.users) == ("hit_rate@10", "warm")
    assert live.quality.model.value == pytest.approx(0.0935)
    assert made.closed
    assert "outcomes for 600 predictions" in made.loop and made.loop.startswith("Feedback received: ")
    assert made.publication == lively.publications
    assert room(made, "serving").says == "2 workers serve 1 model."


def test_a_held_increment_needs_a_person_with_both_commands_and_every_reason(mill: Any) -> None:
    mill.publish(mill.increment("reviews", date(2018, 9, 6)))
    mill.hold(mill.increment("reviews", DAY), BAD, BAD)
    made = page(mill, models=())
    (need,) = made.needs
    assert need.why == (BAD.says, BAD.says)
    assert [command.text for command in need.commands] == [
        "tidemill check reviews --replace 2 FILE",
        "tidemill check reviews --accept 2 --by NAME --reason '…'",
    ]
    assert (room(made, "checks").state, made.headline) == ("look", "1 action required.")


@pytest.mark.parametrize("how", ["accepted", "published again", "replaced by another"])
def test_a_settled_increment_needs_nobody(mill: Any, how: str) -> None:
    mill.publish(mill.increment("reviews", date(2018, 9, 6)))
    held = mill.increment("reviews", DAY)
    mill.hold(held, BAD)
    if how == "accepted":
        mill.ledger.append(
            "accept", about="stream:reviews", details={"number": held.number, "who": "ida", "reason": "real"}
        )
    elif how == "published again":
        mill.publish(held)
    else:
        mill.publish(mill.increment("reviews", DAY, replaces=held.number))
    made = page(mill, models=())
    assert made.needs == ()
    assert room(made, "checks").state == "well"


def test_many_held_increments_are_not_all_listed(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    for _ in range(7):
        mill.hold(mill.increment("reviews", DAY), BAD)
    made = page(mill, models=())
    assert [need.what for need in made.needs][-1] == "4 more increments of reviews are held"
    assert made.headline == "4 actions required."


def test_a_held_increment_with_a_number_of_another_stream_stays_held(mill: Any) -> None:
    mill.hold(mill.increment("reviews", DAY), BAD)
    mill.publish(mill.increment("items", DAY))
    assert [need.what for need in page(mill, models=()).needs] == ["reviews of 7 Sep 2018, increment 1, is held"]


def test_a_model_without_release_champion_or_switch_says_what_to_type(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    assert page(mill).needs[0].commands[0].text == "tidemill train for_you"
    made = mill.learn("for_you", 1, DAY, None)
    assert page(mill).needs[0].commands[0].text == "tidemill promote for_you@1"
    mill.promote(made.name)
    assert page(mill).needs == ()
    (mill.serving / "for_you" / "switch.json").write_text('{"off": true, "since": 5, "who": "ida"}')
    assert page(mill).needs[0].commands[0].text == "tidemill on for_you"
    assert room(page(mill), "serving").says == "for_you is switched off."
    (mill.serving / "for_you" / "switch.json").write_bytes(bytes(1024))
    assert "switch file cannot be read" in page(mill).needs[0].why[0]


def test_a_newer_release_is_a_hint_and_one_that_was_rolled_back_is_none(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    for seed in (1, 2):
        mill.learn("for_you", seed, DAY, None)
    mill.promote("for_you@1")
    made = page(mill)
    assert (made.needs[0].weight, made.headline) == ("hint", "Healthy.")
    mill.promote("for_you@2")
    mill.releases.rollback("for_you")
    assert page(mill).needs == ()


def test_a_damaged_bundle_of_the_champion_is_broken(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    made = mill.learn("for_you", 1, DAY, None)
    mill.promote(made.name)
    (mill.releases.bundle(made.bundle) / "vectors.npy").write_bytes(b"short")
    (need,) = page(mill).needs
    assert need.weight == "broken"
    assert "vectors.npy has 5 bytes" in need.why[0]
    assert page(mill).headline == "Something is broken."


def test_a_swap_that_failed_shows_what_answers_and_what_was_wanted(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    for seed in (1, 2):
        mill.promote(mill.learn("for_you", seed, DAY, None).name)
    mill.serve({"for_you": "for_you@1"}, promoted={"for_you": "for_you@2"}, state="failed", why="out of memory")
    made = page(mill)
    assert (made.live[0].release, made.live[0].serving.promoted) == ("for_you@1", "for_you@2")
    assert made.needs[0].why == ("for_you@2 did not go live: out of memory", "for_you@1 keeps serving.")
    assert made.needs[0].commands[0].text == "tidemill rollback for_you"


def test_a_pointer_behind_the_ledger_is_named(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY))
    mill.promote(mill.learn("for_you", 1, DAY, None).name)
    pointer = (mill.serving / "for_you" / "live.json").read_bytes()
    mill.promote(mill.learn("for_you", 2, DAY, None).name)
    (mill.serving / "for_you" / "live.json").write_bytes(pointer)
    assert page(mill).needs[0].why == ("The server has for_you@1; the ledger has for_you@2.",)
    (mill.serving / "for_you" / "live.json").write_bytes(b"{")
    assert "is not a valid deployment" in page(mill).needs[0].why[0]
    one = served(mill.serving, "for_you", mill.ledger.keys.public)  # what the model's page shows too
    assert one.unreadable and one.problem is not None and "is not a valid deployment" in one.problem


def test_what_verification_found_is_shown_first(mill: Any) -> None:
    mill.problems = [f"line {n}: its body was changed" for n in range(9)]
    made = page(mill)
    assert made.needs[0].what == "Verification found 9 problems"
    assert len(made.needs[0].why) == 5


def test_the_ledger_away_leaves_the_page_standing(mill: Any, tmp_path: Path) -> None:
    mill.publish(mill.increment("reviews", DAY))
    mill.promote(mill.learn("for_you", 1, DAY, None).name)
    story = LedgerProjection(mill.ledger)
    before = loop_page(mill.stores(), story)
    with (tmp_path / "ledger.sqlite").open("r+b") as file:
        file.write(b"\0" * 4096)
    mill.lines._file._connection.execute("PRAGMA shrink_memory")
    mill.ledger.head = lambda: (_ for _ in ()).throw(OSError("disk gone"))
    after = loop_page(mill.stores(), story)
    assert after.needs[0].what == "The ledger cannot be read"
    assert "disk gone" in after.needs[0].why[0]
    assert (after.live, after.rooms[1]) == (before.live, before.rooms[1])


def test_the_story_reads_only_what_is_new_and_starts_again_with_another_ledger(mill: Any, tmp_path: Path) -> None:
    for _ in range(3):
        mill.publish(mill.increment("reviews", DAY))
    story = LedgerProjection(mill.ledger)
    assert story.catch_up().seq == 3
    asked: list[int] = []
    find = mill.ledger.find
    mill.ledger.find = lambda *a, after=0, **more: asked.append(after) or find(*a, after=after, **more)
    mill.publish(mill.increment("reviews", DAY))
    assert (story.catch_up().publication.number, asked) == (4, [3])
    story.catch_up()
    assert asked == [3]
    other = type(mill)(tmp_path / "other") if (tmp_path / "other").mkdir() is None else None
    assert other is not None
    other.publish(other.increment("items", DAY))
    story._ledger = other.ledger
    assert set(story.catch_up().streams) == {"items"}


def test_folding_line_by_line_equals_folding_at_once(lively: Any) -> None:
    """The law of the fold; its wrong variant forgets, as a fold over the newest lines alone would."""
    whole = LedgerProjection(lively.ledger).catch_up()
    step, newest = LedgerProjection(lively.ledger), LedgerProjection(lively.ledger)
    for line in lively.ledger.find():
        step._fold(line)
    for line in lively.ledger.find()[-5:]:
        newest._fold(line)
    assert step.projected == whole
    assert newest.projected != whole


def test_warnings_are_counted_and_hold_nothing(mill: Any) -> None:
    mill.publish(mill.increment("reviews", DAY), Verdict(outcome="warn", failures=(BAD,), checked=3))
    assert room(page(mill), "checks").says == "1 increment checked, 1 with warnings, none held."


def test_the_json_twin_says_what_the_page_says(lively: Any, get: Callable[..., Any]) -> None:
    twin = json.loads(get(lively.stores(), "/index.json").body)
    html = get(lively.stores(), "/").text
    assert twin["headline"] in html
    for one in twin["rooms"]:
        assert one["says"] in html
    for need in twin["needs"]:
        for command in need["commands"]:
            assert command["text"].split()[0] in html


def test_an_unchanged_page_costs_a_304_and_a_changed_one_does_not(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    for path in ("/", "/index.json"):
        first = get(mill.stores(), path)
        tag = first.headers["etag"]
        assert get(mill.stores(), path, headers=[("host", "localhost"), ("if-none-match", tag)]).status == 304
    mill.publish(mill.increment("reviews", DAY))
    assert get(mill.stores(), "/", headers=[("host", "localhost"), ("if-none-match", tag)]).status == 200


HOSTILE = [
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "{{ 1001*1001 }}",
    "</title><b>x</b>",
    "&lt;i&gt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_names_reasons_and_accounts_is_shown_as_text(mill: Any, get: Callable[..., Any], text: str) -> None:
    mill.name = text
    mill.ledger.account = Account(name=text)
    mill.open()
    mill.publish(mill.increment(text, DAY))
    mill.hold(mill.increment(text, DAY), Failure(**{**_fields(BAD), "says": text}))
    mill.problems = [text]
    reply = get(mill.stores(models=[text]), "/")
    html = reply.text
    assert reply.status == 200
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    assert escaped in html
    if "<" in text:
        assert text not in html
    assert "1002001" not in html
    assert not re.search(r"""href="(?!/|#)""", html)


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_no_page_holds_inline_code_or_styles_or_an_address_of_elsewhere(lively: Any, get: Callable[..., Any]) -> None:
    for path in ("/", "/models/for_you", "/nothing"):
        html = get(lively.stores(), path).text
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?! defer src=\"/static/)", html)
        assert "http:" not in html
        assert "https:" not in html
        assert "//" not in re.sub(r"<!doctype.*?>", "", html)
