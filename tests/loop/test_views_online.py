"""Views as a run leaves them online, what they look like, and whether a model was served what training would see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from conftest_loop import FIRST, Project, new_project
from msgspec.structs import replace

from tidemill.cli.main import cli
from tidemill.core.clock import to_micros
from tidemill.core.errors import NoSuchRelease, UnknownName
from tidemill.core.records.prediction import Prediction, ScoredItem
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.features import OnlineLookup
from tidemill.feedback.log_tables import prediction_rows
from tidemill.loop.features.feature_report import feature_report
from tidemill.loop.features.feature_significance import significance
from tidemill.loop.features.skew_report import compared, skew_report
from tidemill.loop.notebook.snapshot_frames import SnapshotFeatures
from tidemill.loop.online.feature_metadata_files import SkewReport
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.training.train import train
from tidemill.models.tabular.row_model import RowModel

MILL = '''
from datetime import datetime

import narwhals as nw

import tidemill as tm

mill = tm.Mill("shop")


class Review(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    rating: float = tm.field(ge=1, le=5)
    reviewed_at: datetime = tm.event_time(zone="UTC")


reviews = mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))


@mill.features(entity="user_id", window="3 days", every="1 day", ttl="36 hours", owner="ann")
def taste(reviews):
    """What a user did lately."""
    return reviews.group_by("user_id").agg(n=nw.len(), mean_rating=nw.col("rating").mean())


@mill.features(entity="item_id", ttl="2 days")
def last(reviews):
    """The last rating of an item."""
    return reviews.select("item_id", "reviewed_at", "_known_at", "_row", last_rating=nw.col("rating"))


mill.model(
    "kind", examples=reviews, target="rating", inputs=[], features=[taste, last], learn=tm.auto(minutes=1),
    helps="Tests.", could_harm="Nobody.",
)
'''
DAY = 86_400_000_000
Review = tuple[str, str, float, date]


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = new_project(tmp_path_factory.mktemp("views"))
    (made.path / "mill.py").write_text(MILL)
    settings = (made.path / "tidemill.toml").read_text()
    (made.path / "tidemill.toml").write_text(settings.replace('items = "file:data/items.jsonl"\n', ""))
    return made


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def at(number: int) -> int:
    """Midnight that begins a day, microseconds."""
    one = day(number)
    return to_micros(datetime(one.year, one.month, one.day, tzinfo=UTC))


_LIFE: list[Review] = [
    ("ann", "tea", 5.0, day(0)),
    ("bob", "tea", 1.0, day(0)),
    ("ann", "cup", 3.0, day(2)),
    ("ann", "tea", 4.0, day(4)),
    ("bob", "cup", 2.0, day(4)),
]


def test_a_run_leaves_the_newest_row_and_the_last_boundary_with_their_instants(project: Project) -> None:
    project.write("reviews.csv", _LIFE)
    project.run(day(3), backfill=True)
    stores, graph = project.open()
    ann, bob = surrogates(stores)
    assert stores.latest.get("taste", ann) == {"n": 1, "mean_rating": 3.0, "_at": at(4)}
    assert stores.latest.get("taste", bob) is None, "his last event lies before the window"
    tea = stores.latest.get("last", "tea") or {}
    assert (tea["last_rating"], tea["_at"]) == (5.0, at(0)) or (tea["last_rating"], tea["_at"]) == (1.0, at(0))
    before = {view: stores.latest.version(view) for view in ("taste", "last")}
    project.run(day(3))
    stores, _ = project.open()
    assert {view: stores.latest.version(view) for view in before} == before, "nothing is made twice"
    project.run(day(4))
    assert stores.latest.get("taste", bob) == {"n": 1, "mean_rating": 2.0, "_at": at(5)}
    assert stores.latest.get("taste", ann) == {"n": 2, "mean_rating": 3.5, "_at": at(5)}
    assert (stores.latest.get("last", "tea") or {})["_at"] == at(4)
    online = OnlineLookup(stores.latest, graph.askings["kind"].lookups)
    late = online.look_up({"user_id": ann, "item_id": "tea"}, now=at(5) + DAY * 3 // 2 + 1)
    assert late.views == {"taste": "expired", "last": "expired"}
    assert set(late.values.values()) == {None}


def surrogates(stores: Stores) -> tuple[str, str]:
    """Ann and Bob as the mill knows them: Ann has more rows."""
    users = stores.lake.view().arrow("reviews")["user_id"].to_pylist()
    ann, bob = sorted(set(users), key=lambda user: -users.count(user))
    return ann, bob


def test_a_fact_that_a_backfill_counts_as_known_later_goes_online_then(project: Project) -> None:
    text = MILL.replace('"reviewed_at"))', '"reviewed_at"), delay_days=1)')
    (project.path / "mill.py").write_text(text)
    project.write("reviews.csv", _LIFE)
    project.run(day(4), backfill=True)
    stores, _ = project.open()
    assert (stores.latest.get("last", "tea") or {})["_at"] == at(0), (
        "what happened on day 4 is known at the end of day 5"
    )
    project.run(day(5))
    assert (stores.latest.get("last", "tea") or {})["_at"] == at(4)


def test_a_notebook_sees_what_is_online(project: Project) -> None:
    project.write("reviews.csv", _LIFE)
    project.run(day(4), backfill=True)
    stores, graph = project.open()
    pinned = SnapshotFeatures(stores.lake.view(), graph)
    for row in pinned["taste"].to_dicts():
        assert stores.latest.get("taste", row.pop("user_id")) == row
    assert pinned["taste"].height == 2
    assert "_at" not in pinned["last"].columns


# skew


def test_what_was_served_is_what_training_sees_also_after_late_facts(project: Project) -> None:
    life = _life()
    project.write("reviews-a.csv", [one for one in life if one[3] <= day(5)])
    project.run(day(5), backfill=True)
    stores, graph = project.open()
    log = served(stores, graph)
    project.write("reviews-b.csv", [one for one in life if one[3] > day(5)])
    project.write("reviews-late.csv", [("u1", "i1", 1.0, day(5)), ("u2", "i2", 1.0, day(4))])
    project.run(day(7))
    stores, graph = project.open()
    log = [*log, *served(stores, graph)]
    report = hold(stores, graph, log)
    assert report.predictions == len(log) > 20
    assert {one.feature: one.differing for one in report.features} == {"n": 0, "mean_rating": 0, "last_rating": 0}
    assert not report.differs
    (project.path / "mill.py").write_text(MILL.replace('owner="ann"', 'owner="ann", known="event"'))
    stores, graph = project.open()
    by_event = hold(stores, graph, log)
    assert by_event.differs, "the late facts would be a skew if they counted from when they happened"


def test_a_value_that_the_tables_do_not_give_is_found_and_named(project: Project) -> None:
    project.write("reviews.csv", _life())
    project.run(day(5), backfill=True)
    stores, graph = project.open()
    wrong = stores.latest.keys("taste")[3]
    row = stores.latest.get("taste", wrong) or {}
    stores.latest.put("taste", wrong, {**row, "mean_rating": row["mean_rating"] + 0.25}, at=at(6))
    log = served(stores, graph)
    first, *others = hold(stores, graph, log).features
    assert not any(one.differing for one in others)
    assert (first.feature, first.view, first.differing) == ("mean_rating", "taste", 1)
    (found,) = first.rows
    assert found.prediction_id == next(one.prediction_id for one in log if one.subject == wrong)
    assert (found.logged, found.recomputed) == (row["mean_rating"] + 0.25, row["mean_rating"])
    assert found.logged_at == found.recomputed_at == at(6)


def test_a_store_that_fell_behind_is_a_skew_of_its_own_kind(project: Project) -> None:
    project.write("reviews.csv", _life())
    project.run(day(5), backfill=True)
    stores, graph = project.open()
    log = served(stores, graph, now=at(7) + 5)  # a boundary later, and no run since
    project.run(day(7))
    stores, graph = project.open()
    found = {one.feature: one for one in hold(stores, graph, log).features}
    assert found["n"].differing
    assert found["n"].behind > 0
    assert all(row.recomputed_at in (at(7), None) for row in found["n"].rows)


def test_the_report_says_what_is_missing(project: Project) -> None:
    project.write("reviews.csv", _life())
    project.run(day(5), backfill=True)
    stores, graph = project.open()
    with pytest.raises(UnknownName, match="kind_of"):
        skew_report(stores, graph, "kind_of")
    with pytest.raises(NoSuchRelease):
        skew_report(stores, graph, "kind")
    assert hold(stores, graph, []).predictions == 0


@pytest.mark.slow
def test_the_log_of_a_live_model_is_held_against_the_tables(project: Project) -> None:
    chance = np.random.default_rng(0)
    life = [
        (f"u{user}", f"i{chance.integers(20)}", float(1 + (user + chance.integers(2)) % 5), day(number))
        for number in range(14)
        for user in range(60)
    ]
    project.write("reviews.csv", life)
    project.run(day(13), backfill=True)
    stores, graph = project.open()
    train(stores, graph, "kind")
    stores.releases.promote("kind@1")
    assert skew_report(stores, graph, "kind").predictions == 0
    wrong = stores.latest.keys("taste")[0]
    stores.latest.put("taste", wrong, {**(stores.latest.get("taste", wrong) or {}), "n": 99}, at=at(14))
    log = [*served(stores, graph), *(replace(one, model="other", release="other@1") for one in served(stores, graph))]
    repeat = replace(log[0], kind="repeat", features="", items=())
    with stores.leases.take("run") as lease:
        stores.lake.record("predictions", prediction_rows([*log, repeat]), 1, {}, lease)
    report = skew_report(stores, graph, "kind")
    assert report.predictions == len(log) // 2
    assert {one.feature: one.differing for one in report.features} == {"n": 1, "mean_rating": 0, "last_rating": 0}
    assert skew_report(stores, graph, "kind", most=5).predictions == 5
    shown = _command(project, "features", "--skew", "kind")
    assert "served 99 " in shown
    assert report.features[0].rows[0].prediction_id in shown.replace("\n", "")


def _life() -> list[Review]:
    return [
        (f"u{(n * 7 + k) % 12}", f"i{(n * 5 + k * 3) % 6}", float(1 + (n * k) % 5), day(n))
        for n in range(8)
        for k in range(9)
    ]


def served(stores: Stores, graph: ProjectGraph, now: int | None = None) -> list[Prediction]:
    """What a server would log: everybody who reviewed, with the item that they took last."""
    now = stores.lake.view().as_of if now is None else now
    online = OnlineLookup(stores.latest, graph.askings["kind"].lookups)
    rows = stores.lake.view().arrow("reviews").sort_by("_row")
    pairs = dict(zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True))
    pairs |= {"nobody": "nothing"}
    return [_answer(f"{now}:{user}", user, item, online.look_up({"user_id": user, "item_id": item}, now), now)
            for user, item in pairs.items()]  # fmt: skip


def _answer(name: str, user: str, item: str, found: Any, now: int) -> Prediction:
    said = {"inputs": found.values, "status": found.status, "at": found.at}
    return Prediction(
        prediction_id=name, model="kind", release="kind@1", arm="champion", propensity=1.0, served_at=now,
        as_of=now, subject=user, n=1, items=(ScoredItem(item="rating", score=3.0, reason=""),), short=None,
        features=msgspec.json.encode(said).decode(), context=msgspec.json.encode({"item_id": item}).decode(),
        latency_us=1, kind="computed",
    )  # fmt: skip


def hold(stores: Stores, graph: ProjectGraph, log: Sequence[Prediction]) -> SkewReport:
    return compared(graph, stores.lake.view(), _release(graph), prediction_rows(log))


class Nought(RowModel):
    inputs, task = (), "number"

    def answer(self, inputs: pa.Table) -> Any:
        return np.zeros(len(inputs))


def _release(graph: ProjectGraph) -> Release:
    card = Card(
        model="kind", helps="", could_harm="", learner="", parameters={}, evaluation=None, data={}, n_rows=0, n_users=0,
        n_items=0, learned_at=0, as_of=0,
    )  # fmt: skip
    return Release(
        model="kind", number=1, bundle="", rules=RuleSet(retrieve=()), rule_modules={}, facts={}, data={}, code="",
        commit=None, environment="", card=card, created_at=0, signature=graph.askings["kind"].signature(Nought()),
    )  # fmt: skip


# facts


def test_the_facts_of_a_view_say_how_old_it_is_and_who_uses_it(project: Project) -> None:
    project.write("reviews.csv", _LIFE)
    project.clock.set(datetime(2024, 1, 6, 13, tzinfo=UTC))
    stores, graph = project.open()
    taste, last = feature_report(stores, graph)
    assert (taste.made, taste.freshness.rows, taste.freshness.age_us) == (None, 0, None)
    project.run(day(4), backfill=True)
    stores, graph = project.open()
    taste, last = feature_report(stores, graph)
    assert (taste.kind, taste.owner, taste.entity, taste.personal) == (
        "window 3 days, every 1 day",
        "ann",
        "user_id",
        True,
    )
    assert (last.kind, last.personal, last.consumers) == ("rows", False, ("kind",))
    assert (taste.freshness.rows, taste.freshness.newest_at, taste.freshness.expired) == (2, at(5), 0.0)
    assert taste.freshness.age_us == DAY + 13 * DAY // 24 - DAY  # at noon and an hour after the boundary
    assert last.freshness.expired == 0.0
    columns = {column.name: column for column in taste.columns}
    assert set(columns) == {"n", "mean_rating"}
    assert (columns["n"].distinct, columns["n"].mean, columns["n"].min, columns["n"].max) == (2, 1.5, 1.0, 2.0)
    assert taste.made is not None
    assert taste.made.publication == stores.lake.view().publication
    assert taste.made.version == stores.latest.version("taste")
    (project.path / "mill.py").write_text(MILL.replace("n=nw.len()", "n=nw.len(), most=nw.col('rating').max()"))
    taste, _ = feature_report(*project.open())
    assert [column.name for column in taste.columns] == ["n", "mean_rating"], (
        "what is online, until a run makes it anew"
    )
    project.clock.set(datetime(2024, 1, 9, tzinfo=UTC))
    taste, last = feature_report(*project.open())
    assert (taste.freshness.expired, last.freshness.expired) == (1.0, 1.0)


def test_people_are_counted_and_never_described(project: Project) -> None:
    text = MILL.replace('"item_id", "reviewed_at", "_known_at"', '"item_id", "user_id", "reviewed_at", "_known_at"')
    (project.path / "mill.py").write_text(text)
    project.write("reviews.csv", _LIFE)
    project.run(day(4), backfill=True)
    stores, graph = project.open()
    (last,) = feature_report(stores, graph, only="last")
    user = next(column for column in last.columns if column.name == "user_id")
    assert (user.missing, user.distinct, user.mean) == (0.0, None, None)
    said = msgspec.json.encode(last).decode()
    assert not any(one in said for one in surrogates(stores))


def test_a_column_that_has_to_do_with_the_target_is_told_from_one_that_has_not(project: Project) -> None:
    chance = np.random.default_rng(0)
    life = []
    for number in range(8):
        for user in range(60):
            kind = 1 + (user % 5)  # a user's ratings stay the same
            life.append((f"u{user}", f"i{chance.integers(30)}", float(kind), day(number)))
    project.write("reviews.csv", life)
    project.run(day(7), backfill=True)
    stores, graph = project.open()
    found = significance(graph, stores.lake.view(), graph.mill.models["kind"])
    assert set(found) == {"n", "mean_rating", "last_rating"}
    assert found["mean_rating"] < 1e-6
    assert found["last_rating"] > 0.01
    taste = feature_report(stores, graph, only="taste", significant=True)[0]
    assert taste.significance["kind"] == {name: found[name] for name in ("n", "mean_rating")}


def test_the_command_shows_views_columns_and_skew(project: Project) -> None:
    project.write("reviews.csv", _LIFE)
    project.run(day(4), backfill=True)
    shown = _command(project, "features")
    assert "taste" in shown
    assert "window 3 days, every 1 day" in shown
    shown = _command(project, "features", "taste")
    assert 'bench.features["taste"]' in shown
    assert "mean_rating" in shown
    found = msgspec.json.decode(_command(project, "features", "--json"))
    assert [one["name"] for one in found] == ["taste", "last"]
    assert found[0]["freshness"]["rows"] == 2
    refused = CliRunner().invoke(cli, ["features", "tast", "--project", str(project.path)])
    assert isinstance(refused.exception, UnknownName)
    assert "taste" in str(refused.exception)
    refused = CliRunner().invoke(cli, ["features", "--skew", "kind", "--project", str(project.path)])
    assert isinstance(refused.exception, NoSuchRelease)


def _command(project: Project, *words: str) -> str:
    result = CliRunner().invoke(cli, [*words, "--project", str(project.path)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout
