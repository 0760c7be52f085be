from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tidemill.serving.http.metrics import Counters, exposition, last_heartbeat, totals


def test_counters_are_summed_over_workers_and_outlive_them(tmp_path: Path) -> None:
    first, second = Counters(tmp_path, 0), Counters(tmp_path, 1)
    first.add("events", 3)
    second.add("events", 4)
    del first
    again = Counters(tmp_path, 0)
    again.add("events")
    assert totals(tmp_path)["events"] == 8


def test_in_flight_of_a_crashed_worker_is_forgotten(tmp_path: Path) -> None:
    Counters(tmp_path, 0).set("in_flight", 5)
    Counters(tmp_path, 0)
    assert totals(tmp_path)["in_flight"] == 0


def test_the_exposition_is_read_by_prometheus_own_parser(tmp_path: Path) -> None:
    counters = Counters(tmp_path, 0)
    counters.request("recommend", 200)
    counters.request("recommend", 503)
    for us in (50, 100, 101, 999_999_999):
        counters.answered("computed", us)
    families = {
        family.name: family for family in text_string_to_metric_families(exposition(tmp_path, {"m": "m@1"}).decode())
    }
    assert {(one.labels["route"], one.labels["status"]) for one in families["tidemill_requests"].samples} == {
        ("recommend", "2xx"),
        ("recommend", "5xx"),
    }
    buckets = {one.labels["le"]: one.value for one in families["tidemill_answer_seconds"].samples if "le" in one.labels}
    assert buckets["0.0001"] == 2 and buckets["0.0002"] == 3 and buckets["1.0"] == 3 and buckets["+Inf"] == 4
    assert families["tidemill_release"].samples[0].labels == {"model": "m", "release": "m@1"}


def test_a_beat_is_told_by_place(tmp_path: Path) -> None:
    Counters(tmp_path, 3).set("beat", 17)
    assert last_heartbeat(tmp_path, 3) == 17 and last_heartbeat(tmp_path, 4) == 0
