"""The tracker of a run in progress: its metrics, trials, artifacts and end, each an entry of the ledger."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import LedgerBusy, TidemillError, UsageError
from tidemill.core.ledger.ledger import Ledger, redact_surrogates
from tidemill.core.ports import Lease
from tidemill.core.records.quality import Metric
from tidemill.core.records.runs import MetricPoint, Run, Trial
from tidemill.training.runs.resource_meter import ResourceMeter
from tidemill.training.runs.run_json import finite, metric_of, plain, text_of

#: Minimum seconds between two entries with metrics, and maximum number of points of one metric in an entry.
EVERY_S, MOST = 1.0, 200


class RunTracker:
    """A run in progress. As a context manager it ends with its block; an exception ends it as failed.

    Created by `Runs.begin`. Threads may share it.
    """

    def __init__(self, ledger: Ledger, clock: Clock, run: Run, lease: Lease | None = None) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lease = lease
        self._run = run
        self._meter = ResourceMeter()
        self._lock = threading.RLock()
        self._points: list[MetricPoint] = []
        self._written_at = -math.inf
        self._steps: Counter[str] = Counter()
        self._trials: list[Trial] = []
        self._artefacts: dict[str, str] = {}
        self._notes: list[str] = []

    @property
    def name(self) -> str:
        """`for_you#3`."""
        return self._run.name

    @property
    def about(self) -> str:
        """The subject of its ledger entries: `run:for_you@3`."""
        return run_subject(self._run.model, self._run.number)

    def log(self, step: int, /, **figures: float) -> None:
        """Log metrics at a step, such as `run.log(epoch, loss=0.31)`.

        Entries are written at most once a second; later points go into the next entry or the last one. Of more than
        `MOST` points of one metric per second, evenly spaced ones and the last one are stored.
        Raises `FigureRefused` for NaN and infinities.
        """
        at = to_micros(self._clock.now())
        points = [
            MetricPoint(name=name, step=int(step), value=finite(name, value), at=at) for name, value in figures.items()
        ]
        with self._lock:
            self._refuse_ended()
            self._points += points
            if time.monotonic() - self._written_at >= EVERY_S:
                try:
                    self._write_points()
                except LedgerBusy:  # another writer holds it: the points go into the next entry
                    self._written_at = time.monotonic()

    def progress(self, step: str, figures: Mapping[str, Any], /) -> None:
        """Log the numbers of a learner's progress as points named `step.name`; other values are left out.

        A number that is not finite does not stop the training: it is left out, and a note is added.
        """
        kept = {}
        for name, value in figures.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                kept[f"{step}.{name}"] = float(value)
            else:
                self.note(f"{step}.{name} was {value} and was left out")
        if kept:
            with self._lock:
                self._steps[step] += 1
                self.log(self._steps[step], **kept)

    def trial(self, trial: Trial) -> None:
        """Store a trial of a search; its entry is written at once."""
        kept = msgspec.structs.replace(trial, parameters=plain(trial.parameters, "parameters"))
        with self._lock:
            self._refuse_ended()
            self._ledger.append("trial", about=self.about, details={"trial": text_of(kept)}, lease=self._lease)
            self._trials.append(kept)

    def keep(self, what: str, ref: str) -> None:
        """Record an artifact of the run: `run.keep("bundle", "bundle:for_you@4be1…")`."""
        with self._lock:
            self._refuse_ended()
            self._artefacts[what] = ref

    def note(self, sentence: str) -> None:
        """Add a note, stored when the run ends; repeated notes are stored once."""
        with self._lock:
            if sentence not in self._notes:
                self._notes.append(sentence)

    def finish(
        self,
        metrics: Mapping[str, float | Metric] = {},
        *,
        learner: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        best: int | None = None,
        notes: Sequence[str] = (),
    ) -> Run:
        """End the run with its metrics; returns the finished run.

        `parameters` (such as chosen ones) are added to the initial ones; `best` is the number of the best trial, by
        default the finished trial with the largest value. Raises `FigureRefused`; the run then stays open.
        """
        given = self._run.parameters | plain(dict(parameters or {}), "parameters")
        kept = {name: metric_of(name, value) for name, value in metrics.items()}
        for sentence in notes:
            self.note(sentence)
        return self._end("finished", learner=learner or self._run.learner, parameters=given, metrics=kept, best=best)

    def fail(self, error: BaseException | str) -> Run:
        """End the run as failed. Of a foreign error only the type is stored, because its message may quote data."""
        return self._end("failed", says=error if isinstance(error, str) else _said(error))

    def __enter__(self) -> RunTracker:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._run.state != "running":
            return
        if error is None:
            self.finish()
            return
        try:
            self.fail(error)
        except TidemillError as problem:  # the first error must be raised
            error.add_note(f"{self.name} could not be ended as failed: {problem.message}")

    def _end(self, state: str, *, best: int | None = None, **more: Any) -> Run:
        with self._lock:
            self._refuse_ended()
            self._write_points()
            ended = msgspec.structs.replace(
                self._run,
                state=state,
                ended_at=to_micros(self._clock.now()),
                artefacts=dict(self._artefacts),
                cost=self._meter.read(),
                trials=len(self._trials),
                best=_best(self._trials) if best is None else best,
                notes=(*self._run.notes, *self._notes),
                **more,
            )
            self._ledger.append(
                "run-end",
                about=self.about,
                refs_out=list(self._artefacts.values()),
                details={"run": text_of(ended), "state": state},
                lease=self._lease,
            )
            self._run = ended
            return ended

    def _write_points(self) -> None:
        if self._points:
            kept = _thinned(self._points)
            if len(kept) < len(self._points):
                self.note("metrics that were logged many times a second were thinned to evenly spaced points")
            self._ledger.append("run-points", about=self.about, details={"points": text_of(kept)}, lease=self._lease)
            self._points = []
            self._written_at = time.monotonic()

    def _refuse_ended(self) -> None:
        if self._run.state != "running":
            raise UsageError(f"{self.name} has ended", tip="begin another run")


def run_subject(model: str, number: int) -> str:
    """The subject of a run's ledger entries.

    >>> run_subject("for_you", 3)
    'run:for_you@3'
    """
    return f"run:{model}@{number}"


def _best(trials: Sequence[Trial]) -> int | None:
    found = [trial for trial in trials if trial.state == "finished" and trial.value is not None]
    return min(found, key=lambda trial: (-(trial.value or 0.0), trial.number)).number if found else None


def _thinned(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    by_name: dict[str, list[MetricPoint]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    for name, found in by_name.items():
        if len(found) > MOST:
            by_name[name] = [found[(k + 1) * len(found) // MOST - 1] for k in range(MOST)]
    return [point for found in by_name.values() for point in found]


def _said(error: BaseException) -> str:
    if isinstance(error, TidemillError):
        return redact_surrogates(error.message)
    return "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
