"""The same project with its lake in a folder and on S3: the same tables, verdicts, holds, quarantine and counts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily
from s3_server import KEY, SECRET, S3Server, s3_server, workers_with_credentials
from spark_servers import free_port

from tidemill.core.errors import LeaseTaken, SettingError
from tidemill.core.settings import load
from tidemill.lake import part_exchange
from tidemill.loop.ops.doctor import doctor
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.resolve_hold import accept_hold
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.lake_owner import OWNER
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores
from tidemill.loop.training.train import train

LAST = FIRST + timedelta(days=5)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def on_s3(project: Project, server: S3Server) -> Project:
    """A copy of a project that has not run, with its lake on S3."""
    other = Project(project.path.with_name("on_s3"), project.clock)
    shutil.copytree(project.path, other.path)
    set_laptop(other, f'lake = "{server.url(str(other.path).strip("/"))}"')
    return other


def set_laptop(project: Project, line: str) -> None:
    settings = project.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("[laptop]\n", f"[laptop]\n{line}\n", 1))


def write_days(project: Project) -> None:
    """Six days with refused rows; the fifth is twice in the file, so that it is held."""
    rows = daily(6, users=8, items=6)
    held = FIRST + timedelta(days=4)
    bad = [
        (user, item, rating + 20 if day == held and n % 3 == 0 else rating, day)
        for n, (user, item, rating, day) in enumerate(rows)
    ]
    project.write("reviews.csv", [row for row in bad for _ in range(2 if row[3] == held else 1)])


def lived(project: Project) -> dict[str, Any]:
    """What a project has published, held and refused after its days, and what its model learned of it."""
    first = project.run(LAST - timedelta(days=3), backfill=True)
    reports = [first, project.run(LAST)]
    stores, graph = project.open()
    held = [number for _, number in reports[1].held]
    for number in held:
        accept_hold(stores, graph, "reviews", number, who="Ada", reason="the rows are right")
    view = stores.lake.view()
    names = ("reviews", "ratings", "items")
    return {
        "reports": [
            {
                name: getattr(report, name)
                for name in (
                    "increments",
                    "arrived",
                    "merged",
                    "repeated",
                    "contradicted",
                    "refused",
                    "held",
                    "warnings",
                    "publications",
                )
            }
            for report in reports
        ],
        "tables": shown(project),
        "schemas": {name: str(view.schema(name)) for name in names},
        "increments": [
            (one.increment.number, one.state, one.increment.counts, one.verdict)
            for name in ("reviews", "items")
            for one in stores.lake.increments(name)
        ],
        "objects": [without_hashes(name) for name in stores.objects.list("_tidemill") if name != OWNER],
        "facts": [stores.latest.get("facts", f"i{i}") for i in range(15)],
        "acts": [line.act for line in stores.ledger.find()],
        "model": train(stores, graph, "for_you").card.n_rows,
    }


def without_hashes(name: str) -> str:
    return re.sub("[0-9a-f]{16,}", "HASH", name)


def test_the_shop_is_the_same_with_its_lake_on_s3(project: Project, server: S3Server) -> None:
    write_days(project)
    remote = on_s3(project, server)
    assert (found := lived(remote)) == lived(project)
    assert [report["held"] for report in found["reports"]] == [[], [("reviews", 3)]]
    assert sum(report["refused"] for report in found["reports"]) > 0
    assert not (remote.path / ".tidemill" / "lake").exists()
    assert not (remote.path / ".tidemill" / "blobs").exists()
    assert [one.text for one in verify_project(load(remote.path, environ={}), remote.clock).problems] == []
    stores, _ = remote.open()
    assert [key.partition(":")[0] for key in stores.blobs.keys("bundle:")] == ["bundle"]


@pytest.fixture
def on_workers(spark: Any, server: S3Server) -> Iterator[None]:
    with workers_with_credentials(spark):
        yield


@pytest.mark.spark
@pytest.mark.parametrize("most_rows", [part_exchange.MEMORY_ROWS, -1])
def test_spark_gives_the_same_on_s3_as_polars_on_disk(
    project: Project, server: S3Server, on_workers: None, monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    """Also where Spark's workers compare the rows of derived tables and write them to the store."""
    write_days(project)
    remote = on_s3(project, server)
    set_laptop(remote, 'engine = "spark"')
    expected = lived(project)
    monkeypatch.setattr(part_exchange, "MEMORY_ROWS", most_rows)
    assert remote.open()[0].engine.name == "spark"
    assert lived(remote) == expected


@pytest.mark.spark
def test_publications_by_turns_on_the_laptop_and_on_spark(project: Project, server: S3Server, on_workers: None) -> None:
    project.write("reviews.csv", daily(4, users=8, items=6))
    remote = on_s3(project, server)
    for number, engine in enumerate(("polars", "spark", "polars", "spark")):
        settings = load(remote.path, overrides={"engine": engine}, environ={})
        mill = load_mill(remote.path)
        stores = open_stores(remote.path, settings, remote.clock, name=mill.name)
        run(stores, ProjectGraph(mill, stores.engine, remote.path), until=FIRST + timedelta(days=number))
        project.run(FIRST + timedelta(days=number))
        assert shown(remote) == shown(project)
    (found,) = [found for found in doctor(remote.path, settings, None) if found.what == "engine"]
    assert (found.state, "a file in s3://" in found.says) == ("well", True), found.says


def shown(project: Project) -> dict[str, Any]:
    stores, _ = project.open()
    tables = {name: stores.lake.view().arrow(name) for name in ("reviews", "ratings", "items")}
    return {
        name: sorted(rows.drop_columns([c for c in ("user_id",) if c in rows.column_names]).to_pylist(), key=repr)
        for name, rows in tables.items()
    }


def test_the_doctor_tries_the_store(project: Project, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(lake: str) -> tuple[str, str]:
        settings = load(project.path, overrides={"lake": lake}, environ={})
        (found,) = [found for found in doctor(project.path, settings, None) if found.what == "store"]
        assert SECRET not in found.says and KEY not in found.says
        return found.state, found.says

    assert says(server.url("doctor"))[0] == "well"
    assert says(f"s3://another-bucket/lake?endpoint={server.endpoint}") == (
        "wrong",
        "s3://another-bucket/lake?endpoint=*** does not work: there is no bucket 'another-bucket' at "
        f"{server.endpoint}; create it, or correct `lake`",
    )
    state, text = says(f"s3://bucket/lake?endpoint=http://127.0.0.1:{free_port()}")
    assert state == "wrong" and "does not answer" in text
    assert says("s3://bucket/lake?key=1")[0] == "wrong"


def test_settings_show_no_secret(project: Project) -> None:
    lake = "s3://bucket/lake?endpoint=http://ann:hidden@host&secret_access_key=hidden"
    settings = load(project.path, overrides={"lake": lake}, environ={})
    assert "hidden" not in repr(settings) and "hidden" not in str(settings.rows())
    with pytest.raises(SettingError) as refused:
        PortOpener(settings).tables()
    assert "hidden" not in str(refused.value)


def test_a_lake_of_another_mill_is_refused(project: Project, server: S3Server) -> None:
    project.write("reviews.csv", daily(2))
    other = on_s3(project, server)
    lake = f'lake = "{server.url(str(other.path).strip("/"))}"'
    set_laptop(project, lake)
    project.run(FIRST + timedelta(days=1))
    published = project.rows("reviews")
    with pytest.raises(SettingError, match="belongs to another mill, 'shop'"):
        other.run(FIRST + timedelta(days=1))
    assert project.rows("reviews") == published
    assert project.run(FIRST + timedelta(days=1)).publications == 0


def test_of_two_runs_at_once_one_is_refused(project: Project, server: S3Server) -> None:
    project.write("reviews.csv", daily(2))
    remote = on_s3(project, server)
    stores, _ = remote.open()
    with stores.leases.take("lake"), pytest.raises(LeaseTaken):
        remote.run(FIRST)
    assert remote.run(FIRST).publications > 0
