"""Counts on an engine are the counts of one process, bit for bit, and so are the lists that are made of the largest."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from changing_events import Rows, histories_of_a_table, interactions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_worlds import DAY

from tidemill.backends.polars import PolarsEngine
from tidemill.backends.spark import SparkEngine
from tidemill.core.errors import TooLittleData
from tidemill.core.ports import Engine
from tidemill.models.counts import engine_counts as module
from tidemill.models.counts.additive_counts import CountedLists, counted
from tidemill.models.counts.engine_counts import EngineEvents, all_counts, engine_counts
from tidemill.models.learners.cooccurrence import cooccurrence
from tidemill.models.learners.item_knn import CommonCounts, item_knn
from tidemill.models.learners.transitions import transitions
from tidemill.models.recommender.event_facts import EventFacts

AS_OF = 401 * DAY
LISTS: list[CountedLists] = [
    spec.settled().make()
    for spec in (
        cooccurrence(neighbours=2),
        cooccurrence(neighbours=1, trend=0.4, trend_days=30, power=0.7, damping_to=0.5, backward=0.5),
        cooccurrence(hops=2, half_life="1 day"),
        transitions(neighbours=1),
        item_knn(neighbours=1),
        item_knn(neighbours=3, shrinkage=0),
    )
]


class AsElsewhere(PolarsEngine):
    """Counts with frames, as on a cluster."""

    in_process = False


def on(engine: Engine, rows: Rows) -> EngineEvents:
    users, items, times = zip(*rows.values(), strict=True)
    table = pa.table({"who": users, "what": items, "_row": list(rows)})
    table = table.append_column("at", pa.array(times, pa.timestamp("us", "UTC")))
    days = frozenset(make.days for make in LISTS)
    return EngineEvents(engine, engine.frame(table), "who", "what", "at", "_row", AS_OF, days)


def content(counts: Any) -> dict[str, Any]:
    """Every integer of counts."""
    if isinstance(counts, CommonCounts):
        return {"common": counts.pairs.total().toarray().tolist()}
    spans = counts._spans.items()
    return {str(n): (span.pairs.total().toarray().tolist(), span.taken.tolist()) for n, span in spans}


def check(engine: Engine, rows: Rows) -> None:
    if not rows:
        return
    here, there = interactions(rows), on(engine, rows)
    facts = EventFacts(here.items, item=here.item, time=here.time, as_of=AS_OF)
    assert there.facts.items == here.items
    assert (there.facts.n_users, there.facts.n_events) == (here.n_users, len(here))
    for days in (7, 30, 90, 365, None):
        assert there.facts.counts(days).tolist() == facts.counts(days).tolist()
    for kind in dict.fromkeys(make.settings for make in LISTS):
        found, expected = all_counts(there, kind), counted(kind, here)
        assert found.tally.items == expected.tally.items
        assert found.tally.events.tolist() == expected.tally.events.tolist()
        assert content(found) == content(expected)
        if engine.in_process:
            assert content(there.counted_here(kind)) == content(expected)
    bounded = engine_counts(there, LISTS)
    for make in LISTS:
        whole = make.lists(counted(make.settings, here), here.items, AS_OF, facts.counts)
        lists = make.lists(bounded[make.settings], here.items, AS_OF, facts.counts)
        for name in ("starts", "items", "weights"):
            assert getattr(lists, name).tobytes() == getattr(whole, name).tobytes(), name


@given(histories_of_a_table(), st.integers(1, 7))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_on_polars(history: list[Rows], part_events: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_EVENTS", part_events)
        check(PolarsEngine(), history[-1])
        check(AsElsewhere(), history[-1])


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@given(history=histories_of_a_table())
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
def test_on_spark(spark: SparkEngine, history: list[Rows]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_EVENTS", 6)
        check(spark, history[-1])


def test_no_events_are_too_little() -> None:
    events = on(PolarsEngine(), {0: ("u", "i", 0)})
    none = EngineEvents(events.engine, events.frame.head(0), "who", "what", "at", "_row", AS_OF)
    with pytest.raises(TooLittleData):
        assert none.facts


def test_a_missing_value_is_refused() -> None:
    rows: dict[int, Any] = {0: ("u", "i", 0), 1: (None, "i", 0)}
    with pytest.raises(TooLittleData, match="missing"):
        assert on(PolarsEngine(), rows).facts
