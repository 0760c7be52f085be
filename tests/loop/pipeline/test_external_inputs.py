"""External tables as inputs of tables: pinned by each publication, rebuilt when they move on, never copied."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner
from conftest_loop import FIRST, Project, daily
from deltalake import DeltaTable

from tidemill.cli.main import cli
from tidemill.core.errors import (
    ExternalMissing,
    ExternalRefused,
    ExternalVersionGone,
    GraphError,
    SettingError,
    TypeMismatch,
)
from tidemill.core.records.ingest import Publication
from tidemill.core.settings import load
from tidemill.loop.ops.doctor import doctor
from tidemill.loop.pipeline.run_plan import plan
from tidemill.testing.project import check_project

DECLARED = '''
prices = mill.external("prices")


@mill.table(by=["item_id"])
def revenue(ratings, prices):
    """What the ratings of each item are worth."""
    counted = ratings.group_by("item_id").agg(n=nw.len())
    return counted.join(prices.select("item_id", "price"), on="item_id", how="inner").with_columns(
        worth=nw.col("n") * nw.col("price")
    ).select("item_id", "n", "worth")


@mill.table
def shops(prices):
    """The items of each shop."""
    return prices.group_by("shop").agg(n_items=nw.len())


mill.sql("dearest", "SELECT shop, max(price) AS price FROM prices GROUP BY shop", by="shop")
mill.check(shops, tm.between("n_items", 1, 100))
'''
LAST = FIRST + timedelta(days=2)


class ExternalProject:
    """The shop with an external table of prices, of which each call of `write` makes a new version."""

    def __init__(self, project: Project, declared: str = DECLARED) -> None:
        self.project, self.path = project, project.path
        self.prices = project.path.parent / "warehouse" / "prices"
        file = self.path / "mill.py"
        file.write_text(file.read_text() + declared)
        self.place(f"delta:{self.prices}")
        project.write("reviews.csv", daily(3))

    def place(self, url: str) -> None:
        settings = self.path / "tidemill.toml"
        before = settings.read_text().partition("[laptop.external]")[0]
        settings.write_text(f'{before}[laptop.external]\nprices = "{url}"\n')

    def write(self, price: float, items: int = 5) -> None:
        rows = {"item_id": [f"i{i}" for i in range(items)], "price": [price] * items}
        pl.DataFrame(rows | {"shop": ["s"] * items}).write_delta(self.prices, mode="overwrite")

    def run(self, until: date = LAST) -> Any:
        return self.project.run(until)

    def publications(self) -> list[Publication]:
        stores, _ = self.project.open()
        lines = stores.ledger.find("publish")
        return [msgspec.json.decode(line.details["publication"], type=Publication) for line in lines]

    def worth(self, publication: int | None = None) -> dict[str, tuple[int, float]]:
        stores, _ = self.project.open()
        rows = stores.lake.view(publication=publication).arrow("revenue").to_pylist()
        return {row["item_id"]: (row["n"], row["worth"]) for row in rows}


@pytest.fixture
def shop(project: Project) -> ExternalProject:
    return ExternalProject(project)


def test_every_publication_says_which_version_it_was_computed_from(shop: ExternalProject) -> None:
    shop.write(2.0)
    shop.run(FIRST)
    n = {item: count for item, (count, _) in shop.worth().items()}
    assert shop.worth() == {item: (count, 2.0 * count) for item, count in n.items()} and n
    assert shop.project.rows("shops") == [{"shop": "s", "n_items": 5}]
    assert shop.project.rows("dearest") == [{"shop": "s", "price": 2.0}]
    shop.run()  # the same version: only the touched keys are computed
    assert [one.external["prices"].says for one in shop.publications()[-2:]] == ["version 0"] * 2
    stores, _ = shop.project.open()
    line = stores.ledger.last("publish")
    assert line is not None and "rebuilt" not in line.details
    assert list(line.refs_in) == ["external:prices@0"]
    assert "prices" not in stores.lake.view()  # it is read where it is, and not copied
    assert not list(shop.path.rglob("warehouse")) and DeltaTable(shop.prices).version() == 0


def test_commands_show_the_version_that_was_read(shop: ExternalProject) -> None:
    shop.write(2.0)
    shop.run()
    asked = CliRunner().invoke(cli, ["table", "--project", str(shop.path)], catch_exceptions=False)
    assert f"prices          version 0     delta:{shop.prices}" in asked.output
    asked = CliRunner().invoke(cli, ["table", "prices", "--project", str(shop.path)], catch_exceptions=False)
    assert "prices: external table, version 0, publication 4" in asked.output and "price    float" in asked.output
    asked = CliRunner().invoke(cli, ["status", "--project", str(shop.path)], catch_exceptions=False)
    assert f"prices: external table at version 0 (delta:{shop.prices})" in asked.output


def test_a_version_that_moved_on_rebuilds_the_tables_that_read_it(shop: ExternalProject) -> None:
    shop.write(2.0)
    shop.run()
    before, published = shop.worth(), len(shop.publications())
    assert shop.run().publications == 0  # nothing is due
    shop.write(3.0, items=4)
    stores, graph = shop.project.open()
    steps = {step.what: step.why for step in plan(stores, _fresh(shop), LAST, load(shop.path, environ={}))}
    assert steps["revenue"] == "prices is now at version 1, so it is rebuilt in full"
    assert graph.external.pins["prices"].says == "version 0"  # a command other than a run does not look
    assert shop.run().publications == 1
    assert shop.worth() == {item: (n, worth * 1.5) for item, (n, worth) in before.items() if item != "i4"}
    assert shop.project.rows("dearest") == [{"shop": "s", "price": 3.0}]
    last = shop.publications()[-1]
    assert (last.number, last.external["prices"].says) == (published + 1, "version 1")
    assert shop.worth(published) == before
    assert shop.publications()[-2].external["prices"].version["version"] == "0"


def _fresh(shop: ExternalProject) -> Any:
    _, graph = shop.project.open()
    graph.pin_external()
    return graph


def test_the_version_of_an_old_publication_can_be_read_until_it_is_vacuumed(shop: ExternalProject) -> None:
    shop.write(2.0)
    shop.run()
    shop.write(3.0)
    shop.run()
    stores, graph = shop.project.open()
    first = shop.publications()[0].external["prices"]
    rows = stores.engine.collect(graph.external.frame("prices", stores.engine, first))
    assert set(rows["price"].to_pylist()) == {2.0}
    DeltaTable(shop.prices).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(ExternalVersionGone, match="external table 'prices' can no longer be read at version 0"):
        graph.external.frame("prices", stores.engine, first)


def test_rows_that_fail_a_check_keep_the_tables_at_the_published_version(shop: ExternalProject) -> None:
    shop.write(2.0)
    shop.run(FIRST)
    shop.write(9.0, items=200)
    report = shop.run(FIRST)
    assert report.publications == 0
    stays = "external table 'prices' stays at version 0: at version 1, shops: 0 of 1 values"
    assert any(note.startswith(stays) for note in report.notes), report.notes
    shop.run()  # days come in, computed from the published version
    assert shop.publications()[-1].external["prices"].says == "version 0"
    assert {worth / n for n, worth in shop.worth().values()} == {2.0}
    shop.write(4.0)
    assert shop.run().publications == 1
    assert {worth / n for n, worth in shop.worth().values()} == {4.0}


def test_parquet_files_that_are_replaced_stop_nothing_but_what_needs_them(shop: ExternalProject) -> None:
    folder = shop.path / "data" / "prices"
    folder.mkdir()
    rows = pl.DataFrame({"item_id": ["i0", "i1"], "price": [2.0, 2.0], "shop": ["s", "s"]})
    rows.write_parquet(folder / "a.parquet")
    shop.place("parquet:data/prices/*.parquet")
    shop.run(FIRST)
    rows.with_columns(price=pl.lit(7.0)).write_parquet(folder / "a.parquet")
    stores, graph = shop.project.open()
    with pytest.raises(ExternalVersionGone, match="deleted or replaced"):
        graph.external.frame("prices", stores.engine)
    assert stores.lake.view().arrow("revenue").num_rows
    shop.run()
    assert {worth / n for n, worth in shop.worth().values()} == {7.0}


def test_columns_that_come_later_are_seen_by_the_next_run(shop: ExternalProject) -> None:
    file = shop.path / "mill.py"
    file.write_text(file.read_text() + "\n\n@mill.table\ndef copied(prices):\n    return prices\n")
    shop.write(2.0)
    shop.run()
    rows = pl.DataFrame({"item_id": ["i0"], "price": [2.0], "shop": ["s"], "colour": ["red"]})
    rows.write_delta(shop.prices, mode="overwrite", delta_write_options={"schema_mode": "overwrite"})
    shop.run()
    assert shop.project.rows("copied") == [{"item_id": "i0", "price": 2.0, "shop": "s", "colour": "red"}]


def test_tables_of_external_tables_need_no_stream(project: Project) -> None:
    shop = ExternalProject(project, "")
    text = '"""Prices."""\n\nimport narwhals as nw\n\nimport tidemill as tm\n\nmill = tm.Mill("shop")\n'
    (shop.path / "mill.py").write_text(text + DECLARED[: DECLARED.index("@mill.table(by")] + _SHOPS)
    settings = shop.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("reviews =", "#").replace("items =", "#"))
    shop.write(2.0)
    assert shop.run().publications == 1
    assert shop.project.rows("shops") == [{"shop": "s", "n_items": 5}]
    assert shop.run().publications == 0
    shop.write(2.0, items=7)
    assert shop.run().publications == 1
    assert shop.project.rows("shops") == [{"shop": "s", "n_items": 7}]


_SHOPS = DECLARED[DECLARED.index("@mill.table\n") : DECLARED.index("mill.sql")]


def test_what_cannot_be_read_is_refused_by_name(shop: ExternalProject) -> None:
    with pytest.raises(ExternalMissing, match="external table 'prices' has no Delta table at delta:"):
        shop.project.open()
    shop.place("spark:shop.prices")
    with pytest.raises(
        ExternalRefused, match="'prices' is a table of Spark's catalogue, which the engine polars cannot"
    ):
        shop.project.open()
    shop.place("/data/prices")
    with pytest.raises(SettingError, match="'/data/prices', which does not say its kind"):
        shop.project.open()
    settings = shop.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("prices =", "price ="))
    with pytest.raises(SettingError, match=r"`external.price` names no external table"):
        shop.project.open()
    settings.write_text(settings.read_text().partition("[laptop.external]")[0])
    with pytest.raises(ExternalMissing, match="has no place"):
        shop.project.open()


def test_a_projects_own_tests_find_the_places_of_its_settings(shop: ExternalProject) -> None:
    shop.write(2.0)
    assert check_project(shop.path).schemas["prices"].names == ["item_id", "price", "shop"]


def test_the_doctor_looks_at_each_place(shop: ExternalProject) -> None:
    def finding() -> tuple[str, str]:
        settings = load(shop.path, environ={})
        return next((one.state, one.says) for one in doctor(shop.path, settings, None) if "prices" in one.what)

    assert finding() == ("wrong", f"has no Delta table at delta:{shop.prices}")
    shop.write(2.0)
    assert finding() == ("well", "version 0, 3 columns")


def test_a_table_that_nothing_reads_is_not_looked_at(shop: ExternalProject) -> None:
    file = shop.path / "mill.py"
    file.write_text(file.read_text() + '\nmill.external("unused", "delta:/nowhere")\n')
    shop.write(2.0)
    shop.run()
    assert list(shop.publications()[-1].external) == ["prices"]


def test_a_column_of_people_is_refused(shop: ExternalProject) -> None:
    rows = pl.DataFrame({"item_id": ["i0"], "price": [2.0], "shop": ["s"], "user_id": ["u1"]})
    rows.write_delta(shop.prices)
    with pytest.raises(ExternalRefused, match="has a column 'user_id', which in 'reviews' is of people"):
        shop.project.open()
    file = shop.path / "mill.py"
    chosen = 'mill.external("prices", columns=["item_id", "price", "shop"])'
    file.write_text(file.read_text().replace('mill.external("prices")', chosen))
    shop.run()
    assert shop.worth()


def test_a_feature_view_reads_published_tables_only(shop: ExternalProject) -> None:
    shop.write(2.0)
    file = shop.path / "mill.py"
    view = '\n\n@mill.features(entity="item_id")\ndef costs(prices):\n    return prices\n'
    text = file.read_text()
    file.write_text(text + view)
    with pytest.raises(GraphError, match="'costs' read the external table 'prices'"):
        shop.project.open()
    file.write_text(text + "\n\n@mill.table(by='nothing')\ndef other(prices):\n    return prices\n")
    with pytest.raises(TypeMismatch, match="has no column 'nothing'"):
        shop.project.open()


@pytest.mark.spark
def test_the_same_tables_on_spark(shop: ExternalProject, spark: Any) -> None:
    other = Project(shop.path.with_name("on_spark"), shop.project.clock)
    shutil.copytree(shop.path, other.path)
    settings = other.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("[laptop]\n", '[laptop]\nengine = "spark"\n', 1))
    for price in (2.0, 3.0):
        shop.write(price)
        found = []
        for project in (shop.project, other):
            project.run(LAST)
            tables = ("revenue", "shops", "dearest")
            found.append({table: sorted(project.rows(table), key=repr) for table in tables})
        assert found[0] == found[1]
        assert found[0]["dearest"] == [{"shop": "s", "price": price}]


def test_credentials_in_a_place_are_refused_and_not_shown(shop: ExternalProject) -> None:
    shop.place("delta:s3://ann:secret@bucket/prices")
    with pytest.raises(SettingError, match="has credentials in it") as refused:
        shop.project.open()
    assert "secret" not in str(refused.value)
