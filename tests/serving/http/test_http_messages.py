"""The API over a real server: what it answers, and what it refuses with which code."""

from __future__ import annotations

import socket
import time
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served_client import Client
from served_shop import ITEMS, MODEL, OUT_OF_STOCK, Shop

from tidemill.core.records.prediction import Outcome, Prediction
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.feedback import RecordDecoder
from tidemill.serving import ServerHandle

USER = "user1@example.org"


def logged(folder: Path) -> list[Prediction]:
    found = [frame.payload for path in segment_files(folder / "predictions") for frame in read_frames(path)]
    return [msgspec.msgpack.decode(payload, type=Prediction) for payload in found]


def test_an_answer_is_full_unseen_and_says_where_it_comes_from(ask: Client, shop: Shop) -> None:
    answer = ask.recommend(USER, n=10)
    shown = [one["item"] for one in answer["items"]]
    assert len(shown) == len(set(shown)) == 10
    assert not set(shown) & (shop.seen(USER) | OUT_OF_STOCK)
    assert all(one["reason"] and isinstance(one["score"], float) for one in answer["items"])
    assert answer["release"] == f"{MODEL}@1" and answer["arm"] == "champion" and answer["switch"] == "on"
    assert answer["token"] == shop.token(USER)
    assert answer["short"] is None and answer["logged"] is True


def test_a_stranger_is_answered(ask: Client) -> None:
    assert len(ask.recommend("nobody knows me", n=7)["items"]) == 7


def test_the_same_question_within_the_slot_is_the_same_prediction(ask: Client, log_folder: Path) -> None:
    first, again = ask.recommend("user5@example.org", n=3), ask.recommend("user5@example.org", n=3)
    assert again == first
    kinds = [one.kind for one in logged(log_folder) if one.prediction_id == first["prediction_id"]]
    assert kinds == ["computed", "repeat"]
    assert ask.recommend("user5@example.org", n=4)["prediction_id"] != first["prediction_id"]


def test_the_log_has_the_answer_and_no_raw_identifier(ask: Client, log_folder: Path) -> None:
    answer = ask.recommend("user9@example.org", n=5, context={"page": "home"})
    (record,) = [one for one in logged(log_folder) if one.prediction_id == answer["prediction_id"]]
    assert [one.item for one in record.items] == [one["item"] for one in answer["items"]]
    assert record.subject == answer["token"] and record.n == 5 and record.context == '{"page":"home"}'
    assert "history" in record.features
    everything = b"".join(path.read_bytes() for path in (log_folder / "predictions").iterdir())
    assert b"user9" not in everything


def test_the_cacheable_twin_gives_the_same_and_304(ask: Client, shop: Shop, log_folder: Path) -> None:
    path = f"/v1/recommend/{MODEL}/{shop.token(USER)}?n=6"
    status, headers, answer = ask("GET", path)
    assert status == 200 and len(answer["items"]) == 6
    assert headers["etag"] == f'"{answer["prediction_id"]}"'
    assert headers["cache-control"].startswith("private, max-age=")
    assert answer["prediction_id"] == ask.recommend(USER, n=6)["prediction_id"]
    status, headers, body = ask("GET", path, headers={"If-None-Match": f'W/"zzz", "{answer["prediction_id"]}"'})
    assert (status, body) == (304, "")
    assert headers["etag"] == f'"{answer["prediction_id"]}"'
    status, _, _ = ask("GET", path, headers={"If-None-Match": '"another"'})
    assert status == 200
    records = [one for one in logged(log_folder) if one.prediction_id == answer["prediction_id"]]
    assert [one.kind for one in records if one.kind == "not_modified"] == ["not_modified"]
    assert all(not one.items for one in records if one.kind != "computed")


def test_excluded_items_are_left_out_and_candidates_narrow_the_choice(ask: Client, shop: Shop) -> None:
    first = ask.recommend("user2@example.org", n=5)
    banned = [one["item"] for one in first["items"]]
    assert not set(banned) & {one["item"] for one in ask.recommend("user2@example.org", n=5, exclude=banned)["items"]}
    wanted = ["item40", "item41", "item40", "no such item"]
    narrow = ask.recommend("user2@example.org", n=5, candidates=wanted)
    assert sorted(one["item"] for one in narrow["items"]) == sorted(
        {"item40", "item41"} - shop.seen("user2@example.org")
    )
    assert narrow["short"]


def test_more_than_there_is_comes_short_and_says_why(ask: Client, shop: Shop) -> None:
    answer = ask.recommend(USER, n=1000)
    known = {item for _, item, _ in shop.events} | set(ITEMS)
    assert {one["item"] for one in answer["items"]} == known - shop.seen(USER) - OUT_OF_STOCK
    assert "eligible" in answer["short"]


def test_an_event_counts_in_the_next_answer(ask: Client, shop: Shop) -> None:
    user = "somebody new"
    shown = [one["item"] for one in ask.recommend(user, n=5)["items"]]
    events = [
        {"user_id": user, "item_id": item, "rating": 5, "reviewed_at": "2026-06-01T00:00:00Z"} for item in shown[:2]
    ]
    status, _, said = ask("POST", "/v1/events/reviews", events)
    assert (status, said) == (202, {"accepted": 2, "heeded": True})
    later = [one["item"] for one in ask.recommend(user, n=5)["items"]]
    assert len(later) == 5 and not set(later) & set(shown[:2])


def test_an_event_is_on_disk_without_its_raw_identifier(ask: Client, shop: Shop) -> None:
    event = {
        "user_id": "Very.Private@example.org",
        "item_id": "item01",
        "rating": 1,
        "reviewed_at": "2026-06-01T00:00:00Z",
    }
    assert ask("POST", "/v1/events/reviews", event)[0] == 202
    folder = shop.stores.state / "events" / "reviews"
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert shop.token("Very.Private@example.org").encode() in content
    assert b"very.private" not in content.lower()


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"item_id": "a", "rating": 5, "reviewed_at": "2026-06-01T00:00:00Z"}, "user_id"),
        ({"user_id": "u", "item_id": "a", "rating": 6, "reviewed_at": "2026-06-01T00:00:00Z"}, "rating"),
        ({"user_id": "u", "item_id": "a", "rating": "5", "reviewed_at": "2026-06-01T00:00:00Z"}, "rating"),
        ({"user_id": "u", "item_id": "a", "rating": 5, "reviewed_at": "yesterday"}, "reviewed_at"),
        ({"user_id": "u", "item_id": "a", "rating": 5, "reviewed_at": "2999-01-01T00:00:00Z"}, "future"),
        ({"user_id": "u", "item_id": "a", "rating": 5, "reviewed_at": "2026-06-01T00:00:00Z", "x": 1}, "no such field"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_by_field(ask: Client, event: dict[str, Any], says: str) -> None:
    status, _, answer = ask("POST", "/v1/events/reviews", event)
    assert status == 400 and answer["error"]["code"] == "TM701"
    assert says in answer["error"]["message"]


def test_a_request_of_events_is_taken_whole_or_not_at_all(ask: Client) -> None:
    good = {"user_id": "all or nothing", "item_id": "item07", "rating": 5, "reviewed_at": "2026-06-01T00:00:00Z"}
    status, _, answer = ask("POST", "/v1/events/reviews", [good, {**good, "rating": 0}])
    assert status == 400 and answer["error"]["message"].startswith("row 1: ")
    only = ask.recommend("all or nothing", n=1, candidates=["item07"])
    assert [one["item"] for one in only["items"]] == ["item07"]


def test_outcomes_are_taken_one_or_many(ask: Client, log_folder: Path) -> None:
    answer = ask.recommend("user3@example.org", n=3)
    one = {"prediction_id": answer["prediction_id"], "item": answer["items"][0]["item"], "what": "click"}
    assert ask("POST", "/v1/outcomes", one)[::2] == (202, {"accepted": 1})
    later = {**one, "what": "rating", "value": 4, "happened_at": "2026-06-02T10:00:00+02:00"}
    assert ask("POST", "/v1/outcomes", [one, later])[::2] == (202, {"accepted": 2})
    kept = [frame.payload for path in segment_files(log_folder / "outcomes") for frame in read_frames(path)]
    assert len(kept) >= 3


def test_an_outcome_may_be_a_label_and_name_its_model_and_day(ask: Client, log_folder: Path) -> None:
    name = ask.recommend("user4@example.org", n=3)["prediction_id"]
    one = {"prediction_id": name, "what": "churned", "label": "no", "model": MODEL, "served_day": "2026-06-01"}
    assert ask("POST", "/v1/outcomes", one)[::2] == (202, {"accepted": 1})
    kept = [frame.payload for path in segment_files(log_folder / "outcomes") for frame in read_frames(path)]
    (found,) = [one for one in map(RecordDecoder(Outcome), kept) if one.prediction_id == name]
    assert (found.item, found.label, found.model, found.served_day) == ("", "no", MODEL, date(2026, 6, 1))


REFUSED = [
    ("GET", "/nothing", None, {}, 404, "TM703"),
    ("GET", "/v1/recommend/nope/" + "a" * 26, None, {}, 404, "TM703"),
    ("GET", f"/v1/recommend/{MODEL}/raw@example.org", None, {}, 400, "TM701"),
    ("GET", f"/v1/recommend/{MODEL}/{'a' * 26}?n=0", None, {}, 400, "TM701"),
    ("GET", f"/v1/recommend/{MODEL}/{'a' * 26}?n=1001", None, {}, 413, "TM702"),
    ("GET", f"/v1/recommend/{MODEL}/{'a' * 26}?m=5", None, {}, 400, "TM701"),
    ("DELETE", f"/v1/recommend/{MODEL}", None, {}, 405, "TM706"),
    ("GET", "/v1/outcomes", None, {}, 405, "TM706"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":"u"}', {"Content-Type": "text/plain"}, 415, "TM707"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":"u"', {}, 400, "TM701"),
    ("POST", f"/v1/recommend/{MODEL}", b"\xff\xfe", {}, 400, "TM701"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":5}', {}, 400, "TM701"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":""}', {}, 400, "TM701"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":"u","n":0}', {}, 400, "TM701"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":"u","n":1001}', {}, 413, "TM702"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":"u","surprise":1}', {}, 400, "TM701"),
    ("POST", "/v1/recommend/nope", b'{"user":"u"}', {}, 404, "TM703"),
    ("POST", "/v1/recommend/no%20model", b'{"user":"u"}', {}, 400, "TM701"),
    ("POST", "/v1/events/nope", b"{}", {}, 404, "TM703"),
    ("POST", "/v1/events/reviews", b"[]", {}, 400, "TM701"),
    ("POST", "/v1/events/reviews", b'{"user_id":' + b"[" * 5000 + b"]" * 5000 + b"}", {}, 413, "TM702"),
    ("POST", "/v1/events/reviews", b"[" + b",".join([b"{}"] * 1001) + b"]", {}, 413, "TM702"),
    ("POST", "/v1/outcomes", f'{{"prediction_id":"{"a" * 32}","what":"click"}}'.encode(), {}, 400, "TM701"),
    ("POST", "/v1/outcomes", b'{"prediction_id":"x","item":"a","what":"click"}', {}, 400, "TM701"),
    ("POST", f"/v1/recommend/{MODEL}", b'{"user":"' + b"x" * (1 << 20) + b'"}', {}, 413, "TM702"),
    ("POST", "/invocations", b"{}", {}, 404, "TM703"),
    ("GET", "/livez", None, {"Host": "evil.example"}, 400, "TM903"),
    ("GET", "/livez", None, {"Origin": "https://evil.example"}, 403, "TM902"),
    ("GET", "/livez", None, {"Origin": "null"}, 403, "TM902"),
    ("GET", "/livez", None, {"Sec-Fetch-Site": "cross-site"}, 403, "TM902"),
    ("GET", "/nowhere", None, {"Origin": "https://evil.example"}, 403, "TM902"),
    ("DELETE", "/livez", None, {"Host": "evil.example"}, 400, "TM903"),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "code"), REFUSED)
def test_what_does_not_fit_is_refused_with_a_code(
    ask: Client, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, code: str
) -> None:
    found, about, answer = ask(method, path, body, headers)
    assert (found, answer["error"]["code"]) == (status, code), answer
    assert answer["error"]["message"]
    if status == 405:
        assert about["allow"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/infer"), ("POST", "/versions/1/infer")])
def test_a_recommender_takes_no_tensors_and_says_what_it_takes(ask: Client, method: str, path: str) -> None:
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]} if method == "POST" else None
    status, _, answer = ask(method, f"/v2/models/{MODEL}{path}", body)
    assert status == 400 and f"POST /v1/recommend/{MODEL}" in answer["error"]
    assert ask("GET", f"/v2/models/{MODEL}/ready")[0] == 200


def test_a_refusal_never_repeats_the_person(ask: Client) -> None:
    for body in (b'{"user":"Secret.Person","n":"x"}', b'{"user":["Secret.Person"]}', b'{"user":"Secret.Person"'):
        _, _, answer = ask("POST", f"/v1/recommend/{MODEL}", body)
        assert "secret" not in str(answer).lower()


def test_a_body_without_a_length_is_bounded_too(server: ServerHandle) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(
            f"POST /v1/recommend/{MODEL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(40):
            wire.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        wire.sendall(b"0\r\n\r\n")
        assert b" 413 " in wire.recv(4096)


def test_health(ask: Client) -> None:
    assert ask("GET", "/livez")[0] == 200
    assert ask("GET", "/readyz")[::2] == (200, {"ready": True, "reasons": []})
    about = ask("GET", "/healthz")[2]
    assert about["models"][MODEL] == {"release": f"{MODEL}@1", "off": False, "failed": None}


def test_metrics_count_what_was_asked(ask: Client) -> None:
    def count() -> float:
        text = ask("GET", "/metrics")[2]
        lines = [line for line in text.splitlines() if line.startswith('tidemill_predictions_total{kind="computed"}')]
        return float(lines[0].split()[-1])

    before = count()
    for i in range(3):
        ask.recommend(f"counted {i} {time.monotonic_ns()}")
    assert count() == before + 3


def test_a_slow_body_does_not_hold_others_up(server: ServerHandle, ask: Client) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(
            f"POST /v1/recommend/{MODEL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        assert len(ask.recommend(USER, n=2)["items"]) == 2
