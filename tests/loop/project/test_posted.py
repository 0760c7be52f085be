"""Events posted to the server become rows of their stream, once, and count as seen until they are published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.clock import to_micros
from tidemill.core.errors import BackendMissing
from tidemill.core.records.posted_event import PostedEvent, SealedSubject, encode_event
from tidemill.core.storage.segments import segment_files
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.stores import Stores
from tidemill.serving.recommend.user_history import recent_view

LAST = FIRST + timedelta(days=2)


def post(stores: Stores, user: str, item: str, at: datetime) -> None:
    """What the server does with one posted event."""
    surrogate = stores.surrogates("user_id", user)
    event = PostedEvent(
        received_at=to_micros(at),
        row={"item_id": item, "rating": 5.0, "reviewed_at": to_micros(at)},
        people={"user_id": SealedSubject(surrogate, stores.vault.seal(user.encode()))},
    )
    writer = PortOpener(stores.settings).events().writer("reviews")
    writer.write(encode_event(event))
    writer.close()

    def change(row: Any) -> dict[str, Any]:
        return {"items": [item], "times": [to_micros(at)]}

    stores.latest.change(recent_view("reviews"), {surrogate: change}, to_micros(at))


def noon(day: int) -> datetime:
    return datetime(2024, 1, 1 + day, 12, tzinfo=UTC)


def test_a_posted_event_is_published_once_and_known_to_the_vault(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    project.run(LAST)
    stores, _ = project.open()
    post(stores, "from-the-web", "i3", noon(3))
    report = project.run(LAST + timedelta(days=1))
    assert report.arrived == 1
    stores, _ = project.open()
    surrogate = stores.surrogates("user_id", "from-the-web")
    rows = [row for row in project.rows("ratings") if row["user_id"] == surrogate]
    assert [(row["item_id"], row["rating"]) for row in rows] == [("i3", 5.0)]
    assert stores.vault.identity(surrogate) == ("user_id", "from-the-web")
    history = stores.latest.get("for_you.history", surrogate)
    assert history is not None
    assert history["items"] == ["i3"]
    assert stores.latest.get(recent_view("reviews"), surrogate) is None  # it need not lie on top any more
    assert project.run(LAST + timedelta(days=2)).arrived == 0


def test_what_was_posted_on_a_held_day_goes_on_counting_as_seen(project: Project) -> None:
    rows = daily(4)
    project.write("reviews.csv", [row for row in rows for _ in range(2 if row[3] == FIRST + timedelta(days=3) else 1)])
    project.run(LAST)
    stores, _ = project.open()
    post(stores, "from-the-web", "i3", noon(3))
    report = project.run(LAST + timedelta(days=2))
    assert report.held == [("reviews", 4)]
    stores, _ = project.open()
    surrogate = stores.surrogates("user_id", "from-the-web")
    assert stores.latest.get("for_you.history", surrogate) is None
    assert stores.latest.get(recent_view("reviews"), surrogate) is not None


def test_events_lie_where_the_setting_says(project: Project) -> None:
    file = project.path / "tidemill.toml"
    settings = file.read_text()
    project.write("reviews.csv", daily(3))
    project.run(LAST)
    file.write_text(settings.replace("[laptop]\n", '[laptop]\nevents = "./posted"\n'))
    stores, _ = project.open()
    post(stores, "from-the-web", "i3", noon(3))
    assert len(segment_files(stores.project / "posted" / "reviews")) == 1
    assert project.run(LAST + timedelta(days=1)).arrived == 1
    file.write_text(settings.replace("[laptop]\n", '[laptop]\nevents = "segments:./posted"\n'))
    assert project.run(LAST + timedelta(days=2)).arrived == 0
    file.write_text(settings.replace("[laptop]\n", '[laptop]\nevents = "kafka://broker"\n'))
    with pytest.raises(BackendMissing, match="kafka"):
        project.run(LAST + timedelta(days=3))
