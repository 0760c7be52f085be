"""The taxi template's whole life: features as of each instant, the same online and in training; and what breaks that.

Two weeks of New York's green taxis where they are at hand (clocks change on the last day), made-up rides otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from conftest_loop import Project
from tabular_projects import change
from tests.conftest import test_data

from tidemill.cli.commands.init_command import write_project
from tidemill.cli.main import cli
from tidemill.core.clock import FixedClock, as_of
from tidemill.core.settings import load
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.loop.training.train import train
from tidemill.models.tabular import open_tabular
from tidemill.serving import set_replay
from tidemill.serving.process.server_handle import start

pytest.importorskip("lightgbm")

FIRST, LAST, ALIVE = date(2021, 3, 1), date(2021, 3, 14), date(2021, 3, 8)
ZONE = "America/New_York"
QUICK = 'learn=__import__("lightgbm").LGBMRegressor(n_estimators=20, num_leaves=15, verbose=-1, n_jobs=1)'
Tables = dict[str, Any]


def made_up(n: int = 6_000) -> pl.DataFrame:
    """Rides with the columns of the real file; how long one takes depends on its zones and the hour."""
    draw = np.random.default_rng(5)
    pickup = np.minimum(draw.geometric(0.05, n), 60)
    seconds = np.sort(draw.integers(0, 14 * 86_400, n))
    minutes = 4 + pickup / 4 + 6 * (seconds % 86_400 > 57_600) + draw.gamma(2, 2, n)
    begin = datetime(2021, 3, 1)
    return pl.DataFrame(
        {
            "lpep_pickup_datetime": [begin + timedelta(seconds=int(one)) for one in seconds],
            "lpep_dropoff_datetime": [
                begin + timedelta(seconds=int(one + 60 * took)) for one, took in zip(seconds, minutes, strict=True)
            ],
            "PULocationID": pickup,
            "DOLocationID": draw.integers(1, 60, n),
            "passenger_count": np.where(draw.random(n) < 0.1, np.nan, draw.integers(1, 5, n)),
            "fare_amount": np.round(2.5 + 0.8 * minutes, 2),
        }
    ).with_columns(
        pl.col("passenger_count").fill_nan(None),
        pl.col("lpep_pickup_datetime", "lpep_dropoff_datetime").dt.cast_time_unit("us"),
    )


def rides(every: int = 4) -> pl.DataFrame:
    """Two weeks of rides, each `every`-th."""
    real = test_data() / "nyc-green-taxi" / "green_tripdata_2021-03.parquet"
    if not real.is_file():
        print(f"{real} is not there: made-up rides stand in")
        return made_up()
    columns = list(made_up(2).columns)
    rows = pl.read_parquet(real, columns=columns).sort("lpep_pickup_datetime")
    return rows.filter(pl.col("lpep_pickup_datetime").dt.date().is_between(FIRST, LAST)).gather_every(every)


def taxi(base: Path, name: str, learn: str = QUICK) -> Project:
    path = base / name
    write_project(path, "taxi")
    change(path, "learn=tm.auto(minutes=2)", learn)
    (path / "mill.py").write_text((path / "mill.py").read_text().replace(f'Mill("{name}")', 'Mill("taxi")'))
    settings = (path / "tidemill.toml").read_text()
    (path / "tidemill.toml").write_text(settings.replace("[laptop]\n", f'[laptop]\nkeys = "{base / name}-keys"\n', 1))
    return Project(path, FixedClock(datetime(2021, 4, 1, tzinfo=UTC)))


def bring(project: Project, rows: pl.DataFrame, *days: date) -> None:
    """A file for each day, as a feed leaves them; names sort by day."""
    for day in days:
        file = project.path / "data" / f"rides-{day}.parquet"
        file.parent.mkdir(exist_ok=True)
        rows.filter(pl.col("lpep_pickup_datetime").dt.date() == day).write_parquet(file)


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def online(project: Project) -> dict[str, Any]:
    stores, _ = project.open()
    return {key: stores.latest.get("zone_pace", key) for key in sorted(stores.latest.keys("zone_pace"))}


def examples(project: Project) -> list[tuple[Any, ...]]:
    """Inputs, target and instant of each example, in an order of their own."""
    stores, graph = project.open()
    made = build_examples(graph, stores.lake.view(), graph.askings["eta"])
    assert made.time is not None
    columns = [made.inputs[name].to_pylist() for name in made.inputs.column_names]
    return sorted(zip(made.time.tolist(), made.target.tolist(), *columns, strict=True), key=repr)


@pytest.mark.slow
def test_a_backfilled_history_is_the_one_that_came_day_by_day(tmp_path: Path) -> None:
    rows = rides()
    daily = taxi(tmp_path, "daily")
    bring(daily, rows, *days(FIRST, ALIVE))
    daily.run(ALIVE, backfill=True)
    for day in days(ALIVE + timedelta(days=1), LAST):
        bring(daily, rows, day)
        report = daily.run(day)
        assert report.refused == 0
        if day not in (ALIVE + timedelta(days=2), LAST):
            continue
        at_once = taxi(tmp_path, f"once-{day.day}")
        bring(at_once, rows, *days(FIRST, day))
        at_once.run(day, backfill=True)
        found = online(daily)
        assert len(found) > 40
        assert found == online(at_once)
        assert examples(daily) == examples(at_once)
    boundary = {row["_at"] for row in online(daily).values()}
    assert boundary == {int(datetime(2021, 3, 15, tzinfo=UTC).timestamp() * 1e6)}


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Tables]:
    """A project with a day's file that no run has read, and what a run that lives makes of it."""
    base = tmp_path_factory.mktemp("alive")
    project, rows = taxi(base, "taxi"), made_up(1_200)
    bring(project, rows, *days(FIRST, ALIVE))
    project.run(ALIVE, backfill=True)
    bring(project, rows, ALIVE + timedelta(days=1))
    unharmed = Project(base / "unharmed", project.clock)
    shutil.copytree(project.path, unharmed.path)
    unharmed.run(ALIVE + timedelta(days=1))
    return project, {"online": online(unharmed), "examples": examples(unharmed)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "failpoint",
    ["increment.read", "publish.staged", "publish.commit", "publish.ledger", "features.written", "features.ledger"],
)
def test_a_run_that_is_killed_leaves_the_features_of_one_that_was_not(
    alive: tuple[Project, Tables], tmp_path: Path, failpoint: str
) -> None:
    project = Project(tmp_path / "taxi", alive[0].clock)
    shutil.copytree(alive[0].path, project.path)
    before = online(project)
    day = ALIVE + timedelta(days=1)
    killed = subprocess.run(
        [str(Path(sys.executable).parent / "tidemill"), "run", "--until", str(day), "--project", str(project.path)],
        env=os.environ | {"TIDEMILL_FAILPOINT": failpoint},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert online(project) in (before, alive[1]["online"]), "half of the view is online"
    project.run(day)
    assert {"online": online(project), "examples": examples(project)} == alive[1]
    assert verify_project(project.open()[0].settings, project.clock).problems == []


def test_features_of_an_instant_are_what_a_person_would_count(tmp_path: Path) -> None:
    """In a plain loop over the file, for some examples: no ride of today, none that ended in another day's file."""
    rows = made_up(1_500)
    project = taxi(tmp_path, "taxi")
    bring(project, rows, *days(FIRST, LAST))
    project.run(LAST, backfill=True)
    stores, graph = project.open()
    made = build_examples(graph, stores.lake.view(), graph.askings["eta"])
    assert made.time is not None
    trips = stores.lake.view().arrow("trips")
    starts = trips["picked_up_at"].cast(pa.int64()).to_numpy()
    known = np.array([end_of_day(int(at)) for at in starts])
    zones, minutes = np.array(trips["pickup_zone"].to_pylist()), trips["minutes"].to_numpy()
    counts = made.inputs["zone_rides"].to_pylist()
    means = made.inputs["zone_minutes"].to_pylist()
    checked = 0
    for place in range(5, len(counts), 97):
        now, zone = int(made.time[place]), made.inputs["pickup_zone"][place].as_py()
        boundary = now // 86_400_000_000 * 86_400_000_000
        then = (zones == zone) & (known <= boundary) & (starts <= boundary) & (starts > boundary - 28 * 86_400_000_000)
        if not then.any():
            assert counts[place] is None
            continue
        assert counts[place] == then.sum()
        assert means[place] == pytest.approx(minutes[then].mean(), rel=1e-12)
        checked += 1
    assert checked > 8


def end_of_day(at: int) -> int:
    """The end of an instant's day in New York, microseconds: when a ride of a backfill counts as known."""
    moment = pl.Series([at]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(ZONE)
    return int(as_of(moment.dt.date()[0], ZONE).timestamp() * 1e6)


# ---- served


@dataclass
class Served:
    project: Project
    port: int
    rows: pl.DataFrame

    def ask(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Minutes of rides that begin at the replay's instant."""
        kinds = {"pickup_zone": "BYTES", "dropoff_zone": "BYTES", "passengers": "FP64"}
        tensors = [
            {"name": name, "shape": [len(rows)], "datatype": kind, "data": [row[name] for row in rows]}
            for name, kind in kinds.items()
        ]
        url = f"http://127.0.0.1:{self.port}/v2/models/eta/infer"
        asked = urllib.request.Request(
            url, json.dumps({"inputs": tensors}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return dict(json.load(answer))

    def logged(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        """The rows of these predictions, once the lake has them."""
        end = time.monotonic() + 40
        while True:
            stores, _ = self.project.open()
            log = stores.lake.log("predictions")
            found = {} if log is None else {row["prediction_id"]: row for row in log.to_pylist() if row["features"]}
            if set(ids) <= set(found):
                return {one: found[one] for one in ids}
            assert time.monotonic() < end, "the log did not come"
            time.sleep(0.3)

    def skew(self) -> dict[str, Any]:
        done = CliRunner().invoke(cli, ["features", "--skew", "eta", "--json", "--project", str(self.project.path)])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = tmp_path_factory.mktemp("taxi")
    project, rows = taxi(base, "taxi"), rides(8)
    bring(project, rows, *days(FIRST, LAST))
    project.run(LAST, backfill=True)
    stores, graph = project.open()
    made = train(stores, graph, "eta")
    with stores.leases.take("run") as lease:
        stores.releases.promote(made.release.name, lease=lease)
    overrides = {"serve.port": 0, "serve.workers": 1}
    set_replay(stores.serving_root, as_of(LAST, ZONE))
    with start(serve_plan(load(project.path, overrides=overrides), overrides=overrides)) as server:
        server.wait_ready()
        yield Served(project, server.port, rows)


def some(n: int, seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    zones = ["74", "75", "41", "42", "7", "82", "9999"]
    return [
        {
            "pickup_zone": str(draw.choice(zones)),
            "dropoff_zone": str(draw.integers(1, 200)),
            "passengers": float(draw.integers(1, 6)),
        }
        | more
        for _ in range(n)
    ]


@pytest.mark.slow
def test_what_is_served_is_what_training_sees(served: Served) -> None:
    said = served.ask(some(60))
    ids = said["parameters"]["prediction_ids"].split(",")
    logged = served.logged(ids)
    statuses = [json.loads(row["features"])["status"]["zone_minutes"] for row in logged.values()]
    assert {"present", "missing"} == set(statuses)
    assert said["parameters"]["features_missing"] == 2 * [
        json.loads(logged[one]["features"])["status"]["zone_minutes"] for one in ids
    ].count("missing")
    report = served.skew()
    assert report["predictions"] >= len(set(ids))
    assert [one["differing"] for one in report["features"]] == [0, 0]


@pytest.mark.slow
def test_a_value_that_the_tables_do_not_give_is_named_with_its_prediction(served: Served) -> None:
    stores, _ = served.project.open()
    good = stores.latest.get("zone_pace", "75")
    assert good is not None
    version = stores.latest.version("zone_pace")
    stores.latest.put("zone_pace", "75", {**good, "zone_minutes": good["zone_minutes"] + 7.5}, at=good["_at"] + 1)
    try:
        said = served.ask(some(1, 77, pickup_zone="75", dropoff_zone="3"))
        (name,) = said["parameters"]["prediction_ids"].split(",")
        served.logged([name])
        (wrong,) = [one for one in served.skew()["features"] if one["differing"]]
        assert (wrong["feature"], wrong["view"], wrong["differing"]) == ("zone_minutes", "zone_pace", 1)
        assert wrong["rows"][0]["prediction_id"] == name
        assert wrong["rows"][0]["logged"] == good["zone_minutes"] + 7.5
        assert wrong["rows"][0]["recomputed"] == pytest.approx(good["zone_minutes"])
        told = CliRunner().invoke(cli, ["features", "--skew", "eta", "--project", str(served.project.path)])
        assert f"zone_minutes of {name}: served " in told.output
    finally:
        stores.latest.put("zone_pace", "75", good, at=good["_at"] + 2)
    assert version == stores.latest.version("zone_pace")


@pytest.mark.slow
def test_a_feature_beyond_its_ttl_is_missing_to_the_model_and_counted(served: Served) -> None:
    stores, _ = served.project.open()
    rows = some(12, 5)
    try:
        set_replay(stores.serving_root, as_of(LAST + timedelta(days=4), ZONE))
        end = time.monotonic() + 20
        while (said := served.ask(rows))["parameters"].get("features_expired") is None:
            assert time.monotonic() < end, said["parameters"]
            time.sleep(0.2)
    finally:
        set_replay(stores.serving_root, as_of(LAST, ZONE))
    known = sum(row["pickup_zone"] != "9999" for row in rows)
    assert said["parameters"]["features_expired"] == 2 * known
    release = stores.releases.champion("eta")
    assert release is not None
    model = open_tabular(stores.releases.bundle(release.bundle))
    (values,) = [one["data"] for one in said["outputs"] if one["name"] == "value"]
    local = as_of(LAST + timedelta(days=4), ZONE) - timedelta(hours=5)
    by_name = {"zone_rides": None, "zone_minutes": None, "hour": local.hour * 1.0, "weekday": float(local.weekday())}
    wanted = [model.predict_row([{**row, **by_name}[field.name] for field in model.recipe.inputs])[0] for row in rows]
    assert values == pytest.approx(wanted, rel=1e-12)


# ---- leaks


@pytest.mark.slow
@pytest.mark.parametrize("disguise", ["nw.col('minutes') * 60", "nw.col('minutes').round() + 1", "-nw.col('minutes')"])
def test_a_column_that_is_known_only_afterwards_is_named(tmp_path: Path, disguise: str) -> None:
    project = taxi(tmp_path, "taxi")
    change(
        project.path,
        "rides.with_columns(minutes=minutes)",
        f"rides.with_columns(minutes=minutes).with_columns(meter={disguise})",
    )
    change(project.path, '"passengers"],', '"passengers", "meter"],')
    bring(project, rides(8), *days(FIRST, LAST))
    project.run(LAST, backfill=True)
    assessment = train(*project.open(), "eta").card.assessment
    assert assessment is not None
    assert any("meter" in one for one in assessment.warnings), assessment.warnings


@pytest.mark.slow
def test_the_template_has_no_leak_and_beats_its_baseline(tmp_path: Path) -> None:
    project = taxi(tmp_path, "taxi")
    rows = rides(8)
    bring(project, rows, *days(FIRST, LAST))
    project.run(LAST, backfill=True)
    plain = train(*project.open(), "eta").card.assessment
    assert plain is not None and plain.warnings == ()
    assert plain.main.difference.high < 0


# ---- the same on Spark


@pytest.mark.spark
@pytest.mark.parametrize("template", ["taxi", "churn"])
def test_the_template_gives_the_same_on_spark(tmp_path: Path, template: str) -> None:
    if shutil.which("java") is None:
        pytest.skip("no Java: Spark was not tried")
    pytest.importorskip("pyspark", reason="no PySpark: Spark was not tried")
    found = [on(tmp_path, template, engine) for engine in ("polars", "spark")]
    assert found[0] == found[1]
    assert len(found[0]["rows"]) > 100


def on(base: Path, template: str, engine: str) -> Tables:
    """The template's published rows, online features and examples, by one engine."""
    if template == "taxi":
        project = taxi(base, f"taxi_{engine}")
        bring(project, made_up(400), *days(FIRST, LAST))
    else:
        from tabular_projects import churn_project

        (base / engine).mkdir()
        project = churn_project(base / engine, 150)
    settings = project.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("[laptop]\n", f'[laptop]\nengine = "{engine}"\n', 1))
    project.run(LAST if template == "taxi" else date(2026, 10, 31), backfill=True)
    stores, graph = project.open()
    assert stores.engine.name == engine
    view, model = stores.lake.view(), "eta" if template == "taxi" else "churn"
    made = build_examples(graph, view, graph.askings[model])
    columns = [made.inputs[name].to_pylist() for name in made.inputs.column_names]
    return {
        "rows": sorted(zip(made.target.tolist(), *columns, strict=True), key=repr),
        "tables": {name: view.arrow(name).num_rows for name in view.versions},
        "online": {} if template == "churn" else online(project),
        "minutes": pc.sum(view.arrow("trips")["minutes"]).as_py() if template == "taxi" else None,
    }
