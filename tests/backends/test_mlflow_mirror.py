"""What the ledger says of a run is read back from a real MLflow over SQLite, once; a broken mirror stops nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from conftest_loop import FIRST, Project, daily, project

from tidemill.core.clock import to_micros
from tidemill.core.records.quality import Metric
from tidemill.core.records.runs import Run, Trial
from tidemill.core.settings import load
from tidemill.loop.mirror.mirror_runs import mirror_runs
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.training.train import train

__all__ = ["project"]

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
URL = "sqlite:///mlflow.db"

#: Read in a process of its own, as anybody's would be: the library warns and keeps threads.
READ = """
import json, sys, warnings
warnings.simplefilter("ignore")
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
told = {}
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        over = {key: [[m.step, m.timestamp, m.value] for m in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics}
        told[run.info.run_name] = {
            "id": run.info.run_id, "experiment": experiment.name, "status": run.info.status, "tags": run.data.tags,
            "start": run.info.start_time, "end": run.info.end_time, "params": run.data.params,
            "metrics": run.data.metrics, "over": over,
        }
print(json.dumps(told))
"""


def house_of(project: Project, mirror: str) -> Stores:
    settings = msgspec.structs.replace(load(project.path, environ={}), mirror=mirror)
    return open_stores(project.path, settings, project.clock, name=load_mill(project.path).name)


def told(project: Project) -> dict[str, Any]:
    url = f"sqlite:///{project.path / 'mlflow.db'}"
    done = subprocess.run([sys.executable, "-c", READ, url], capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def kept(project: Project) -> Iterator[Stores]:
    """A ledger with a run that searched, one that failed, and one that goes on."""
    project.clock.set(NOON)
    stores = house_of(project, f"mlflow:{URL}")
    with stores.runs.begin(
        "for_you", "search", learner="als", parameters={"factors": 64, "deep": {"l2": 0.1}, "note": "é" * 9_000},
        data={"ratings": 17}, as_of=5, code="c0de", commit="abc123", changed=True, environment="e0",
        notes=["one", "two"],
    ) as run:  # fmt: skip
        for step in range(5):
            run.log(step, **{"loss": 1 / (step + 1), "recall@10": step / 10})
        run.trial(Trial(number=0, parameters={"factors": 8}, state="pruned", value=None, steps=(0.1,)))
        run.trial(Trial(number=1, parameters={"factors": 9}, state="finished", value=0.4, steps=(0.3, 0.5), wall_s=2.0))
        run.keep("release", "release:for_you@3")
        project.clock.set(NOON + timedelta(minutes=1))
        run.finish(
            {"loss": 0.05, "hit_rate@10[warm]": Metric(value=0.2, low=0.1, high=0.3), "hit_rate_at_10/warm": 7.0}
        )
    stores.runs.begin("for_you", "train").fail("no days")
    stores.runs.begin("for_you", "notebook")
    yield stores


@pytest.mark.slow
def test_mlflow_says_what_the_ledger_says_and_says_it_once(project: Project, kept: Stores) -> None:
    assert mirror_runs(kept) == ()
    found = told(project)
    assert set(found) == {"for_you#1", "for_you#1/0", "for_you#1/1", "for_you#2"}  # what goes on is not there yet
    run: Run = kept.runs.read("for_you#1")
    one = found["for_you#1"]
    assert (one["experiment"], one["status"]) == ("shop/for_you", "FINISHED")
    assert (one["start"], one["end"]) == (to_micros(NOON) // 1000, to_micros(NOON) // 1000 + 60_000)
    assert (one["params"]["factors"], one["params"]["deep.l2"]) == ("64", "0.1")
    assert one["params"]["note"].startswith("ééé")
    assert one["over"]["loss"] == [[k, to_micros(NOON) // 1000, 1 / (k + 1)] for k in range(5)] + [
        [5, to_micros(NOON) // 1000 + 60_000, 0.05]
    ]
    assert [row[2] for row in one["over"]["recall_at_10"]] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert one["metrics"]["loss"] == 0.05
    assert (one["metrics"]["hit_rate_at_10/warm"], one["metrics"]["hit_rate_at_10/warm-2"]) == (0.2, 7.0)
    assert (one["metrics"]["hit_rate_at_10/warm.low"], one["metrics"]["hit_rate_at_10/warm.high"]) == (0.1, 0.3)
    assert run.cost is not None
    assert one["metrics"]["cost.cpu_s"] == pytest.approx(run.cost.cpu_s)
    tags = {name.removeprefix("tidemill."): value for name, value in one["tags"].items()}
    assert (tags["code"], tags["commit"], tags["changed"], tags["environment"]) == ("c0de", "abc123", "yes", "e0")
    assert (tags["data.ratings"], tags["artefact.release"], tags["best_trial"]) == ("17", "release:for_you@3", "1")
    assert tags["notes"] == "one\ntwo"
    assert tags["mlflow.source.git.commit"] == "abc123"
    trial = found["for_you#1/1"]
    assert trial["tags"]["mlflow.parentRunId"] == one["id"]
    assert (trial["params"], trial["metrics"]["figure"], trial["status"]) == ({"factors": "9"}, 0.4, "FINISHED")
    assert [row[2] for row in trial["over"]["figure of window"]] == [0.3, 0.5]
    assert found["for_you#1/0"]["status"] == "KILLED"
    assert (found["for_you#2"]["status"], found["for_you#2"]["tags"]["tidemill.says"]) == ("FAILED", "no days")
    with sqlite3.connect(project.path / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()

    assert mirror_runs(kept) == ()
    assert told(project) == found


@pytest.mark.slow
def test_what_was_missed_is_written_later_and_what_was_cut_short_anew(project: Project, kept: Stores) -> None:
    assert mirror_runs(kept) == ()
    first = told(project)
    with sqlite3.connect(project.path / "mlflow.db") as connection:  # as if it had been killed before the end
        connection.execute(
            "DELETE FROM tags WHERE key = 'tidemill.whole' AND run_uuid = ?", (first["for_you#1"]["id"],)
        )
    connection.close()
    with kept.runs.begin("similar", "train") as later:
        pass
    assert mirror_runs(kept) == ()
    found = told(project)
    assert set(found) == {*first, later.name}
    assert found["for_you#2"] == first["for_you#2"]
    again = found["for_you#1"]
    assert again["id"] != first["for_you#1"]["id"]
    assert again["metrics"] == first["for_you#1"]["metrics"]
    assert found["for_you#1/0"]["tags"]["mlflow.parentRunId"] == again["id"]


@pytest.mark.slow
def test_a_broken_mirror_leaves_the_training_with_one_warning(project: Project) -> None:
    project.write("reviews.csv.gz", daily(10, per_day=20))
    project.run(FIRST + timedelta(days=9), backfill=True)
    _, graph = project.open()
    stores = house_of(project, "mlflow:sqlite:////proc/nowhere/mlflow.db")
    left = train(stores, graph, "for_you")
    assert left.anew
    assert stores.runs.read("for_you#1").state == "finished"
    warnings = [note for note in left.notes if "were not copied to mlflow:sqlite:////proc/nowhere/mlflow.db" in note]
    assert len(warnings) == 1
    assert "Traceback" not in warnings[0]


def test_every_way_to_fail_is_one_sentence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = house_of(project, "mlfow:http://ann:secret@localhost/")
    (said,) = mirror_runs(stores)
    assert "there is no back-end 'mlfow'" in said
    assert "did you mean `mlflow`?" in said
    assert "secret" not in said
    (said,) = mirror_runs(stores, limit_s=0.001)
    assert "longer than 0.001 seconds" in said
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (said,) = mirror_runs(stores)
    assert "exited with status 1 and no result" in said
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    (said,) = mirror_runs(stores)
    assert "No such file" in said
    assert mirror_runs(house_of(project, "")) == ()


def test_where_the_library_is_missing_the_extra_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = project.path / "hidden" / "mlflow"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(name='mlflow')")
    monkeypatch.setenv("PYTHONPATH", str(hidden.parent))
    (said,) = mirror_runs(house_of(project, f"mlflow:{URL}"))
    assert "mirroring runs needs mlflow, which is not installed; pip install 'tidemill[mlflow]'" in said
