"""A mill that an older tidemill left opens as it is and goes on: no row is lost or doubled, no line fails to verify."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from conftest_loop import Project

from tidemill.core.identity.account import Account
from tidemill.feedback import LogWriter
from tidemill.loop.online.materialise_online import write_serving_metadata
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.increment_history import refused
from tidemill.loop.pipeline.resolve_hold import accept_hold
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.reproduce.reproduce import reproduce
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.loop.state.project_status import status
from tidemill.serving import ServerHandle, flush_spool, spooled, start, switch, switch_state
from tidemill.training.runs.runs import Runs

#: The last day that the old mill brought in; a publication of the day after it was interrupted.
LAST = date(2024, 1, 13)
#: Rows in a day's file, and rows of the interrupted publication: a day's file and a posted event.
PER_DAY, INTERRUPTED = 24, 25


def add_day(mill: Project, day: date) -> None:
    """A day's file, as the mill's source reads it."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    lines = [f"i{n % 12},u{n},{1 + n % 5},{int((at + timedelta(hours=n)).timestamp())}\n" for n in range(PER_DAY)]
    (mill.path / "data" / f"reviews-{day}.csv").write_text("".join(lines))


def by_row(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    found = {row["_row"]: row for row in rows}
    assert len(found) == len(rows), "a row is there twice"
    return found


def test_it_opens_and_says_what_it_said(mill: Project, expected: dict[str, Any]) -> None:
    stores, graph = mill.open()
    said = status(stores, graph)
    assert {one.name: [one.increments, one.rows] for one in said.streams} == expected["streams"]
    assert {one.name: list(one.held) for one in said.streams if one.held} == expected["held"]
    assert {one.name: one.champion for one in said.models} == expected["champions"]
    assert {one.name: list(one.releases) for one in said.models} == expected["releases"]
    assert said.tables == expected["tables"]
    assert stores.ledger.head().seq == expected["lines"]
    found = verify_project(stores.settings, stores.clock).problems  # nothing was signed yet, and there was no head file
    found = [says for says in found if not says.startswith("lake: ")]  # a publication in it was interrupted
    assert found and all("not signed" in says or "ledger.head is missing" in says for says in found)
    assert len(recover_live_files(stores)) == 4
    stores.ledger.append("note")
    found = verify_project(stores.settings, stores.clock).problems
    assert [says for says in found if "streams.json" not in says and not says.startswith("lake: ")] == []


def test_a_run_finishes_what_was_interrupted_and_brings_in_the_next_day_once(
    mill: Project, expected: dict[str, Any]
) -> None:
    stores, _ = mill.open()
    head = stores.ledger.head()
    before = by_row(mill.rows("reviews"))
    add_day(mill, LAST + timedelta(days=2))
    report = mill.run(LAST + timedelta(days=2))
    assert report.arrived == PER_DAY
    assert report.notes[0] == "completed publication 8, which was interrupted"
    assert [note.split(" was set")[0] for note in report.notes[1:]] == [
        "churn: the pointer", "churn: the kill switch", "for_you: the pointer", "for_you: the kill switch",
    ]  # fmt: skip
    after = by_row(mill.rows("reviews"))
    assert after.items() >= before.items()
    assert len(after) == len(before) + INTERRUPTED + PER_DAY
    assert len(mill.rows("ratings")) == len({(row["user_id"], row["item_id"]) for row in after.values()})
    assert len(mill.rows("customers")) == expected["streams"]["customers"][1]
    assert mill.run(LAST + timedelta(days=2)).arrived == 0
    stores, _ = mill.open()
    assert verify_project(stores.settings, stores.clock).problems == []
    assert stores.lake.verify() == []
    assert stores.ledger.find()[head.seq - 1].hash == head.hash


def test_its_held_day_is_accepted_and_its_refused_line_is_told(mill: Project, expected: dict[str, Any]) -> None:
    mill.run(LAST + timedelta(days=1))
    stores, graph = mill.open()
    before = by_row(mill.rows("reviews"))
    (number,) = expected["held"]["reviews"]
    accept_hold(stores, graph, "reviews", number, who="Ada", reason="the rows are right")
    after = by_row(mill.rows("reviews"))
    assert after.items() >= before.items()
    assert {row["_increment"] for key, row in after.items() if key not in before} == {number}
    assert len(after) == len(before) + PER_DAY
    (line,) = refused(stores, graph, "reviews")
    assert (line.column, line.line) == ("rating", 8)


def test_its_log_is_taken_in_once(mill: Project, expected: dict[str, Any]) -> None:
    stores, _ = mill.open()
    before = {table: rows.num_rows for table in ("predictions", "outcomes") if (rows := stores.lake.log(table))}
    assert before == {"predictions": 5, "outcomes": 2}
    for again in (False, True):
        with stores.leases.take("log") as lease:
            done = LogWriter(stores.state / "log", stores.lake, lease).write()
        assert (done.predictions, done.outcomes) == (
            (0, 0) if again else (expected["waiting"]["predictions"], expected["waiting"]["outcomes"])
        )
        assert (done.torn, done.damaged) == (0 if again else 1, 0)
    rows = stores.lake.log("predictions")
    assert rows is not None
    ids = rows["prediction_id"].to_pylist()
    assert len(set(ids)) == len(ids) == before["predictions"] + expected["waiting"]["predictions"]
    assert set(ids) >= set(expected["prediction_ids"])
    joined = stores.lake.log("outcomes")
    assert joined is not None and set(joined["prediction_id"].to_pylist()) <= set(ids)


def test_its_switch_is_where_it_was_and_its_waiting_lines_are_written(mill: Project) -> None:
    stores, _ = mill.open()
    recover_live_files(stores)
    public = stores.keys.public
    assert [switch_state(stores.serving_root, model, public).off for model in ("churn", "for_you")] == [True, False]
    assert len(spooled(stores.serving_root)) == flush_spool(stores.serving_root, stores.ledger) == 3
    assert [line.act for line in stores.ledger.find(after=stores.ledger.head().seq - 3)] == ["off", "on", "off"]
    assert spooled(stores.serving_root) == []


def test_what_was_learned_is_told(mill: Project) -> None:
    stores, _ = mill.open()
    runs = Runs(stores.ledger, stores.clock)
    assert {run.kind for run in runs.all()} == {"search", "train", "evaluate", "refresh"}
    assert {run.state for run in runs.all()} == {"finished"}
    assert len(runs.trials("for_you#1")) == runs.read("for_you#1").trials > 0
    assert stores.releases.champion("for_you") is not None
    release = stores.releases.get("churn@1")
    assert release.signature is not None and release.card.assessment is not None
    stores.releases.bundle(release.bundle)


def test_what_was_released_is_not_released_again(mill: Project) -> None:
    stores, _ = mill.open()
    old, head = stores.releases.get("for_you@1"), stores.ledger.head().seq
    again = stores.releases.create(
        old.model, old.bundle, old.rules, old.card, facts=old.facts, data=old.data, code=old.code, commit=old.commit,
        environment=old.environment, log=old.log,
    )  # fmt: skip
    assert again == old
    assert stores.ledger.head().seq == head


def test_who_was_known_is_known(mill: Project) -> None:
    stores, _ = mill.open()
    for kind, raw in (("user_id", "u1"), ("user_id", "from-the-web-1"), ("customer_id", "c7")):
        assert stores.vault.identity(stores.surrogates(kind, raw)) == (kind, raw)


@contextmanager
def serving(mill: Project) -> Iterator[ServerHandle]:
    stores, _ = mill.open()
    stores, graph = mill.open()  # as `tidemill serve` does
    write_serving_metadata(stores, graph)
    recover_live_files(stores)
    with start(serve_plan(stores.settings)) as running:
        running.wait_ready(60)
        yield running


def ask(server: ServerHandle, path: str, body: Any) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


@pytest.mark.slow
def test_its_releases_answer_as_they_did(mill: Project, expected: dict[str, Any]) -> None:
    stores, _ = mill.open()
    switch(
        stores.serving_root,
        "churn",
        off=False,
        account=Account(name="ada"),
        why="shown",
        clock=stores.clock,
        keys=stores.keys,
        ledger=stores.ledger,
    )
    with serving(mill) as server:
        for one in expected["answers"]:
            answer, before = ask(server, one["path"], one["body"]), one["answer"]
            if "items" in before:
                assert answer["release"] == before["release"]
                assert [item["item"] for item in answer["items"]] == [item["item"] for item in before["items"]]
                assert [item["score"] for item in answer["items"]] == pytest.approx(
                    [item["score"] for item in before["items"]]
                )
            else:
                probabilities, labels = answer["outputs"]
                assert probabilities["data"] == pytest.approx(before["outputs"][0]["data"])
                assert labels == before["outputs"][1]
    rows = stores.lake.log("predictions")
    assert rows is not None and rows.num_rows == 5 + expected["waiting"]["predictions"] + 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["for_you@1", "churn@1"])
def test_its_releases_are_learned_again_and_answer_alike(mill: Project, name: str) -> None:
    stores, _ = mill.open()
    found = reproduce(stores, name, here=True)
    assert found.holds, found
    assert found.recorded == stores.releases.get(name).bundle
    # another tidemill may write another form of the same model: then its answers are held against those that were kept
    assert found.made == found.recorded or (found.answers > 0 and found.largest == pytest.approx(0, abs=1e-9))
