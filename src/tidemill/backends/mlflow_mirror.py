"""MLflow mirror of runs: parameters, metrics over time, final metrics, tags, and trials as nested runs.

Each model is an experiment `mill/model`. MLflow allows fewer characters in names: `hit_rate@10[warm]` becomes
`hit_rate_at_10/warm`, and the bounds of its interval become `….low` and `….high`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tidemill.core.errors import BackendMissing
from tidemill.core.flatten import flatten
from tidemill.core.records.runs import MetricPoint, Run, Trial

#: MLflow's limits: metrics and parameters per `log_batch`, length of a parameter or tag, and length of a name.
_METRICS, _PARAMETERS, _LONGEST, _NAME = 1_000, 100, 5_000, 240
_STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
    "pruned": "KILLED",
    "late": "KILLED",
}
#: Tags that identify a mirrored run; `whole` is set last.
_RUN, _MILL, _WHOLE, _TRIAL, _PARENT = (
    "tidemill.run",
    "tidemill.mill",
    "tidemill.whole",
    "tidemill.trial",
    "mlflow.parentRunId",
)


class MlflowMirror:
    """Mirrors the runs of one mill to MLflow. `url` is a server or a database (`sqlite:///mlflow.db`)."""

    def __init__(self, url: str, mill: str, mill_id: str) -> None:
        try:
            from mlflow import MlflowClient, entities
        except ModuleNotFoundError as error:
            raise BackendMissing(
                f"mirroring runs needs {error.name}, which is not installed", tip="pip install 'tidemill[mlflow]'"
            ) from error
        self._entities = entities
        self._client = MlflowClient(tracking_uri=url)
        self._mill, self._mill_id = mill, mill_id
        self._experiments: dict[str, str] = {}
        _enable_wal(url)

    def known(self) -> set[str]:
        return {run.data.tags[_RUN] for run in self._found(f"tags.`{_MILL}` = '{self._mill_id}'") if _is_whole(run)}

    def write(self, run: Run, points: Sequence[MetricPoint], trials: Sequence[Trial]) -> None:
        for left in self._found(f"tags.`{_MILL}` = '{self._mill_id}' and tags.`{_RUN}` = '{run.name}'"):
            self._remove(left.info.run_id)
        ended = run.ended_at or max((point.at for point in points), default=run.started_at)
        number = self._begin(run.model, run.name, run.started_at, self._tags(run))
        names = _Names()
        self._log(number, run.parameters, [*_over_time(points, names), *_final(run, points, names, ended)])
        for trial in trials:
            self._write_trial(run, number, trial, ended)
        self._client.set_terminated(number, status=_STATUS[run.state], end_time=ended // 1000)
        self._client.set_tag(number, _WHOLE, "yes")

    def _write_trial(self, run: Run, parent: str, trial: Trial, ended: int) -> None:
        name = f"{run.name}/{trial.number}"
        tags = {_TRIAL: name, _PARENT: parent, "tidemill.state": trial.state, "tidemill.says": trial.says}
        number = self._begin(run.model, name, ended - round(1e6 * trial.wall_s), tags)
        values = [("figure of window", value, ended, step) for step, value in enumerate(trial.steps)]
        values += [("cpu_s", trial.cpu_s, ended, 0), ("wall_s", trial.wall_s, ended, 0)]
        if trial.value is not None:
            values.append(("figure", trial.value, ended, 0))
        self._log(number, trial.parameters, values)
        self._client.set_terminated(number, status=_STATUS[trial.state], end_time=ended // 1000)

    def _begin(self, model: str, name: str, at: int, tags: Mapping[str, str]) -> str:
        given = {key: _cut(value) for key, value in tags.items() if value}
        run = self._client.create_run(self._experiment(model), start_time=at // 1000, tags=given, run_name=name)
        return str(run.info.run_id)

    def _log(self, number: str, parameters: Mapping[str, Any], values: Iterable[tuple[str, float, int, int]]) -> None:
        names = _Names()
        params = [self._entities.Param(names.of(key), _cut(str(value))) for key, value in flatten(parameters).items()]
        metrics = [self._entities.Metric(name, value, at // 1000, step) for name, value, at, step in values]
        for start in range(0, len(params), _PARAMETERS):
            self._client.log_batch(number, params=params[start : start + _PARAMETERS])
        for start in range(0, len(metrics), _METRICS):
            self._client.log_batch(number, metrics=metrics[start : start + _METRICS])

    def _tags(self, run: Run) -> dict[str, str]:
        fields = {
            "kind": run.kind,
            "state": run.state,
            "learner": run.learner,
            "as_of": str(run.as_of),
            "code": run.code,
            "commit": run.commit or "",
            "changed": "yes" if run.changed else "no",
            "environment": run.environment,
            "best_trial": "" if run.best is None else str(run.best),
            "notes": "\n".join(run.notes),
            "says": run.says,
        }
        found = {f"tidemill.{name}": value for name, value in fields.items()}
        found |= {f"tidemill.data.{table}": str(version) for table, version in run.data.items()}
        found |= {f"tidemill.artefact.{what}": ref for what, ref in run.artefacts.items()}
        source = {"mlflow.source.name": f"tidemill:{self._mill}", "mlflow.source.git.commit": run.commit or ""}
        return {_allowed(key): value for key, value in found.items()} | source | {_RUN: run.name, _MILL: self._mill_id}

    def _experiment(self, model: str) -> str:
        name = f"{self._mill}/{model}"
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            self._experiments[name] = found.experiment_id if found else self._client.create_experiment(name)
        return self._experiments[name]

    def _found(self, where: str) -> list[Any]:
        experiments = [found.experiment_id for found in self._pages(self._client.search_experiments)]
        if not experiments:
            return []
        return self._pages(lambda **page: self._client.search_runs(experiments, filter_string=where, **page))

    def _pages(self, search: Any) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = search(max_results=1_000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _remove(self, number: str) -> None:
        for child in self._found(f"tags.`{_PARENT}` = '{number}'"):
            self._client.delete_run(child.info.run_id)
        self._client.delete_run(number)


class _Names:
    """Maps names to valid MLflow names, without collisions."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, name: str) -> str:
        if name not in self._given:
            allowed, taken = _allowed(name), set(self._given.values())
            number = 2
            while allowed in taken:
                allowed = f"{_allowed(name)}-{number}"
                number += 1
            self._given[name] = allowed
        return self._given[name]


def _allowed(name: str) -> str:
    name = re.sub(r"\[([^\[\]]*)\]", r"/\1", name.replace("@", "_at_"))
    parts = [re.sub(r"[^\w\-. :]", "_", part, flags=re.ASCII).strip() for part in name.split("/")]
    return "/".join(part if part.strip(".") else "_" for part in parts if part)[:_NAME].rstrip("/") or "_"


def _over_time(points: Sequence[MetricPoint], names: _Names) -> list[tuple[str, float, int, int]]:
    return [(names.of(point.name), point.value, point.at, point.step) for point in points]


def _final(run: Run, points: Sequence[MetricPoint], names: _Names, at: int) -> list[tuple[str, float, int, int]]:
    """The final metrics, one step after the last point of the same name, so that they are the newest."""
    values = {name: metric.value for name, metric in run.metrics.items()}
    for name, metric in run.metrics.items():
        if metric.low != metric.high:
            values |= {f"{name}.low": metric.low, f"{name}.high": metric.high}
    if run.cost:
        values |= {"cost.wall_s": run.cost.wall_s, "cost.cpu_s": run.cost.cpu_s}
        values |= {"cost.peak_bytes": float(run.cost.peak_bytes)}
    last: dict[str, int] = {}
    for point in points:
        last[point.name] = max(last.get(point.name, 0), point.step)
    return [(names.of(name), value, at, last.get(name, -1) + 1) for name, value in values.items()]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _is_whole(run: Any) -> bool:
    return bool(run.data.tags.get(_WHOLE) == "yes")


def _enable_wal(url: str) -> None:
    """Enable the write-ahead log of an SQLite file, so that readers do not wait for writers."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(Path(url.removeprefix("sqlite:///")))) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
