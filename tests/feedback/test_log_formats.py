"""The log of the format before this one and of the one after it: read, or left where it is, and never thrown away."""

from __future__ import annotations

import asyncio
import tarfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_log import CLOCK, ids, outcome, prediction, stores, write

import tidemill.core.settings as settings_module
from tidemill.core.errors import FormatTooNew
from tidemill.core.records import posted_event
from tidemill.core.records.prediction import LOG_FORMAT, Outcome, Prediction
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files
from tidemill.feedback import (
    OUTCOMES,
    PREDICTIONS,
    RecordDecoder,
    SegmentLog,
    current_outcomes,
    current_predictions,
    prediction_schema,
    realised_rates,
)
from tidemill.loop.project.stores import Stores, open_stores

OLD = Path(__file__).parent.parent / "formats" / "1" / "log" / "project.tar.gz"
_encode = msgspec.msgpack.encode


@pytest.fixture
def old(tmp_path: Path) -> Stores:
    """The project that the release of format 1 left: 4 answers and 2 outcomes in the lake, 3 and 1 in segments."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    project = tmp_path / "project"
    overrides = {"keys": str(tmp_path / "project-keys"), "search": "exact"}
    return open_stores(project, settings_module.load(project, overrides=overrides, environ={}), CLOCK)


def test_an_old_log_is_read_before_anything_is_written(old: Stores) -> None:
    rows = old.lake.log(PREDICTIONS)
    assert rows is not None and "switch" not in rows.column_names
    found = current_predictions(rows)
    assert set(found.column_names) == set(prediction_schema().names)
    by_id = {row["prediction_id"]: row for row in found.to_pylist()}
    assert [by_id[f"{i:032x}"]["switch"] for i in range(4)] == ["on", "on", "on", "off"]
    assert {row["policy"] for row in by_id.values()} == {"single"}
    happened = old.lake.log(OUTCOMES)
    assert happened is not None and current_outcomes(happened)["served_day"].null_count == 2
    assert [(one.shown, one.taken) for one in realised_rates(rows, happened)] == [(4, 2), (4, 2), (4, 0)]


def test_old_segments_go_into_an_old_log_beside_new_ones(old: Stores) -> None:
    new = SegmentLog(old.state / "log", CLOCK)
    new.write(msgspec.structs.replace(prediction(9), policy="single", publication=3))
    asyncio.run(new.outcomes([msgspec.structs.replace(outcome(9), label="yes", served_day=date(2026, 6, 1))]))
    new.close()
    done = write(old)
    assert (done.predictions, done.outcomes, done.damaged, done.too_new) == (4, 2, 0, 0)
    assert sorted(ids(old)) == [f"{i:032x}" for i in (*range(7), 9)]
    rows = old.lake.log(PREDICTIONS)
    assert rows is not None
    switch = {row["prediction_id"]: row for row in current_predictions(rows).to_pylist()}
    assert [i for i in (*range(7), 9) if switch[f"{i:032x}"]["switch"] == "off"] == [3, 6]
    assert [switch[f"{i:032x}"]["publication"] for i in (0, 9)] == [None, 3]
    happened = old.lake.log(OUTCOMES)
    assert happened is not None and happened.num_rows == 4
    assert old.lake.verify() == [] and old.ledger.verify(old.lake.heads()) == []


def test_an_old_posted_event_is_read(old: Stores) -> None:
    (path,) = segment_files(old.state / "events" / "reviews")
    (frame,) = read_frames(path)
    event = posted_event.decode_event(frame.payload)
    assert event.row["item_id"] == "item05" and event.people["user_id"].surrogate == "s" * 26


def test_a_field_that_is_not_known_is_left_out() -> None:
    coming = {**msgspec.to_builtins(prediction(1)), "weather": "rain"}
    assert RecordDecoder(Prediction)(_encode(coming)).prediction_id == f"{1:032x}"
    assert RecordDecoder(Outcome)(_encode({"prediction_id": "a", "mood": 3})).prediction_id == "a"


@pytest.mark.parametrize("changed", [{}, {"served_at": "another type"}])
def test_a_record_of_a_newer_format_stays_and_the_others_flow_on(tmp_path: Path, changed: dict[str, Any]) -> None:
    opened = stores(tmp_path)
    coming = {**msgspec.to_builtins(prediction(2)), "format": LOG_FORMAT + 1, **changed}
    writer = SegmentWriter(opened.state / "log" / PREDICTIONS, CLOCK)
    writer.append(_encode(prediction(1)), _encode(coming), _encode(prediction(3)))
    writer.close()
    log = SegmentLog(opened.state / "log", CLOCK)
    log.write(prediction(4))
    log.close()
    done = write(opened)
    assert (done.predictions, done.damaged, done.too_new) == (2, 0, 1)
    assert sorted(ids(opened)) == [f"{1:032x}", f"{4:032x}"]
    assert write(opened).predictions == 0
    (left,) = segment_files(opened.state / "log" / PREDICTIONS)
    assert len(list(read_frames(left))) == 3 and not (left.parent / "damaged").exists()


def test_a_segment_of_a_newer_format_stays(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    log = SegmentLog(opened.state / "log", CLOCK)
    log.write(prediction(1))
    log.close()
    (path,) = segment_files(opened.state / "log" / PREDICTIONS)
    content = path.read_bytes()
    path.write_bytes(content[:6] + b"\x63\x00" + content[8:])
    assert (write(opened).too_new, ids(opened)) == (1, [])
    path.write_bytes(content)  # the version that knows it
    assert (write(opened).predictions, ids(opened)) == (1, [f"{1:032x}"])


def test_a_posted_event_of_a_newer_format_is_refused_by_name() -> None:
    for more in ({}, {"row": 3}):
        with pytest.raises(FormatTooNew, match="format 9"):
            posted_event.decode_event(_encode({"received_at": 1, "row": {}, "people": {}, "format": 9, **more}))


def test_outcomes_of_another_model_or_day_are_not_joined() -> None:
    from tidemill.feedback.log_tables import outcome_rows, prediction_rows

    day = datetime.fromtimestamp(1, UTC).date()
    known = [outcome(1), *(msgspec.structs.replace(outcome(1), model="m", served_day=when) for when in (day, None))]
    other = [
        msgspec.structs.replace(outcome(1), model="other"),
        msgspec.structs.replace(outcome(1), served_day=date(1999, 1, 1)),
    ]
    predictions = prediction_rows([prediction(1)])
    for one in known:
        assert realised_rates(predictions, outcome_rows([one]))[0].taken == 1
    for one in other:
        assert realised_rates(predictions, outcome_rows([one]))[0].taken == 0
