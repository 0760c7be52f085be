"""One worker's site in this process: what happens where the log, a rule or a release fails."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from http_exchange import Exchange, exchange
from served_shop import MODEL, Shop, open_shop

from tidemill.core.clock import from_micros
from tidemill.core.records.prediction import LOGGED_ITEMS, Prediction
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.feedback import RecordDecoder
from tidemill.loop.serve.server_processes import _stores
from tidemill.models.slates.slate_spec import nearest, popular, relevance, slate, unseen
from tidemill.release import read_deployment
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.live.fact_publication import write_fact_publication
from tidemill.serving.live.state_files import write_state
from tidemill.serving.process.worker_site import WorkerSite


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("site") / "project", slot_s=3600)


def site(shop: Shop, spec: Any = None, *, required: str = "", **serve: Any) -> WorkerSite:
    """A site that serves a release with these rules; `required` says who asks for the log."""
    release = shop.promote(shop.release(spec, log="required" if required == "release" else "available"))
    write_state(shop.root / MODEL / "serving.json", read_deployment(shop.root, release.model, shop.stores.keys.public))
    serve["log"] = "required" if required == "server" else "available"
    settings = msgspec.structs.replace(shop.stores.settings.serve, **serve)
    made = WorkerSite(_stores(shop.stores.settings), settings, LoopbackAccess([8400]), place=0)
    made.start()
    assert made.releases() == {MODEL: release.name}
    return made


def ask(made: WorkerSite, user: str = "user1@example.org", **more: Any) -> Exchange:
    return exchange(made.server, f"/v1/recommend/{MODEL}", {"user": user, "n": 5, **more})


@contextmanager
def full_disk() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_answer_that_cannot_be_logged_says_so_and_is_not_remembered(shop: Shop) -> None:
    made = site(shop)
    with full_disk():
        unlogged = ask(made)
    assert unlogged.status == 200 and unlogged.content["logged"] is False
    assert "etag" not in unlogged.headers and unlogged.headers["cache-control"] == "no-store"
    logged = ask(made)
    assert logged.content["logged"] is True and logged.content["items"] == unlogged.content["items"]
    made.close()


@pytest.mark.parametrize("who", ["release", "server"])
def test_log_required_answers_nothing_unlogged(shop: Shop, who: str) -> None:
    made = site(shop, required=who)
    with full_disk():
        refused = ask(made)
    assert (refused.status, refused.content["error"]["code"]) == (503, "TM704")
    assert refused.headers["retry-after"] == "1"
    assert ask(made).status == 200
    made.close()


def test_a_score_of_one_s_own_that_fails_answers_by_the_fallback(shop: Shop) -> None:
    made = site(
        shop,
        slate(retrieve=[nearest(50)], filter=[unseen()], score=[relevance(), sometimes], fallback=popular(days=30)),
    )
    fine = ask(made, candidates=["item01", "item02", "item03"])
    assert fine.status == 200
    fallen = ask(made, candidates=[f"item{i:02d}" for i in range(60)])
    assert fallen.status == 200 and len(fallen.content["items"]) == 5
    made.close()


def sometimes(candidates: Any) -> Any:
    if len(candidates) > 50:
        return candidates.scores[:1]
    return candidates.scores


def guarded(candidates: Any) -> Any:
    if candidates.context.get("break"):
        return candidates.nothing_of_this_name
    return candidates.scores >= 0


def test_a_filter_that_fails_shows_nothing_that_it_guards(shop: Shop) -> None:
    made = site(shop, slate(retrieve=[nearest(50)], filter=[unseen(), guarded], fallback=popular(days=30)))
    assert ask(made).status == 200
    broken = ask(made, context={"break": True})
    assert broken.status == 500 and "items" not in broken.content
    made.close()


def test_more_requests_than_the_limit_are_told_to_come_back(shop: Shop) -> None:
    made = site(shop, max_in_flight=2)
    made.server.in_flight = 1
    assert ask(made).status == 200
    made.server.in_flight = 2
    refused = ask(made)
    assert refused.content["error"]["code"] == "TM708" and refused.headers["retry-after"] == "1"
    made.close()


def test_repeats_are_remembered_within_a_bound_of_bytes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = site(shop)
    model = made.models[MODEL]
    first = ask(made, n=40)
    assert ask(made, n=40).sent.split(b"\r\n\r\n")[1] == first.sent.split(b"\r\n\r\n")[1]
    room = model._remembered_bytes
    assert room > len(first.sent.split(b"\r\n\r\n")[1]) and list(model.remembered) == [first.content["prediction_id"]]
    monkeypatch.setattr("tidemill.serving.live.live_model._REMEMBERED", room)
    second = ask(made, n=39)
    assert list(model.remembered) == [second.content["prediction_id"]] and 0 < model._remembered_bytes <= room
    made.close()


def test_a_context_is_bounded_by_its_bytes(shop: Shop) -> None:
    made = site(shop)
    assert ask(made, context={"page": "é" * 8_000}).status == 200
    for context in ({"page": "é" * 9_000}, {"p" * 17_000: 1}, {f"{i}": "x" * 600 for i in range(32)}):
        refused = ask(made, context=context)
        assert (refused.status, refused.content["error"]["code"]) == (413, "TM702"), refused.content
    made.close()


def test_a_fault_of_ours_tells_the_caller_nothing_of_itself(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    made = site(shop)

    def broken(kind: str, user: str) -> str:
        raise KeyError(user)

    made.recommending._surrogate = broken
    failed = ask(made, user="Secret.Person@example.org")
    assert (failed.status, failed.content["error"]["code"]) == (500, "TM700")
    assert "KeyError" in caplog.text and "Secret" not in caplog.text + str(failed.content)
    made.close()


def test_a_promoted_model_that_did_not_come_up_is_not_ready(shop: Shop) -> None:
    made = site(shop)
    made.models[MODEL].predictor = None
    refused = ask(made)
    assert (refused.status, refused.content["error"]["code"]) == (503, "TM709")
    assert made._not_ready() == [f"{MODEL} has no live release"]
    made.close()


def test_a_draining_worker_answers_and_closes(shop: Shop) -> None:
    made = site(shop)
    made.server.draining = True
    answer = ask(made)
    assert answer.status == 200 and answer.headers["connection"] == "close"
    assert "draining" in made._not_ready()
    made.close()


def test_the_worker_s_name_goes_with_it(shop: Shop) -> None:
    made = site(shop)
    made.poll()
    files: list[Path] = list((shop.root / "workers").glob("*.json"))
    assert len(files) == 1
    made.close()
    assert not list((shop.root / "workers").glob("*.json"))


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def records(shop: Shop, *ids: str) -> list[Prediction]:
    folder = shop.stores.state / "log" / "predictions"
    found = [RecordDecoder(Prediction)(frame.payload) for path in segment_files(folder) for frame in read_frames(path)]
    return [one for one in found if one.prediction_id in ids]


def test_a_record_says_what_was_asked_and_by_which_deployment_it_was_answered(shop: Shop) -> None:
    made = site(shop)
    write_fact_publication(shop.root, 7, 0)
    made.poll()
    banned, wanted = [f"no{i}" for i in range(300)], ["item40", "item41", *[f"none{i}" for i in range(400)]]
    body = {"user": "user1@example.org", "n": 1, "exclude": banned, "candidates": wanted}
    for _ in range(2):
        path, trace = f"/v1/recommend/{MODEL}", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"
        asked = exchange(made.server, path, body, trace)
    full, repeat = records(shop, asked.content["prediction_id"])
    live = read_deployment(shop.root, MODEL, shop.stores.keys.public)
    assert live is not None
    assert (full.deployment, full.arm, full.policy, full.switch) == (live.id, "champion", "single", "on")
    assert (full.propensity, full.item_propensities) == (1.0, None)
    assert (full.publication, full.trace_id, repeat.trace_id) == (7, TRACE, TRACE)
    assert (full.exclude, full.n_exclude) == (tuple(banned[:LOGGED_ITEMS]), 300)
    assert (full.candidates, full.n_candidates) == (tuple(wanted[:LOGGED_ITEMS]), 402)
    assert (repeat.kind, repeat.exclude, repeat.candidates) == ("repeat", (), None)
    assert asked.content["served_day"] == from_micros(full.as_of).date().isoformat()
    assert asked.content["arm"] == "champion" and "policy" not in asked.content
    made.close()


def test_the_record_of_a_model_that_is_off_says_so(shop: Shop) -> None:
    made = site(shop)
    shop.turn(off=True)
    made.poll()
    answer = ask(made, n=3).content
    (record,) = records(shop, answer["prediction_id"])
    assert (answer["switch"], record.switch, record.policy, record.kind) == ("off", "off", "single", "fallback")
    shop.turn(off=False)
    made.poll()
    assert ask(made, n=3).content["switch"] == "on"
    made.close()
