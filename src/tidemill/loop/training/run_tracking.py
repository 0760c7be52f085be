"""Run tracking of a training: its inputs, metrics, trials and artifacts, in the ledger."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from tidemill.core.errors import NoSuchBlob, ReleaseError
from tidemill.core.progress import Progress
from tidemill.core.records.release import Release
from tidemill.core.records.runs import Run, Trial
from tidemill.loop.families.model_family import FittedModel, RunStart, Training
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import Provenance, keep_code_of, keep_environment_of
from tidemill.release import seal_bundle, verify_bundle
from tidemill.training import PerUnitMetrics, RunTracker, read_unit_metrics, write_unit_metrics

_FIGURES = "figures"
#: The number of runs of a model, newest first, among which an interrupted one is found.
_RESUMABLE = 100


def begin_training(
    training: Training, start: RunStart, code: str, around: Provenance
) -> tuple[RunTracker, tuple[Trial, ...]]:
    """Begin the run of a training; also returns the trials of an interrupted run, which are not repeated.

    `code` is the fingerprint of everything that affects the result: only runs with the same fingerprint are resumed.
    """
    inputs = training.inputs
    stores = inputs.stores
    before = _left_off(stores, inputs.name, code)
    found = {trial.number: trial for run in before for trial in stores.runs.trials(run.name) if trial.state != "late"}
    known = tuple(found[number] for number in sorted(found))
    run = stores.runs.begin(
        inputs.name,
        start.kind,
        learner=start.learner,
        parameters=start.parameters,
        data=training.data,
        as_of=inputs.view.as_of,
        code=code,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine, *start.notes],
        lease=inputs.lease,
    )
    keep_code_of(stores, run, around)
    if known:
        run.note(f"resumes with {len(known)} trials of {', '.join(one.name for one in before)}, which did not finish")
        for trial in known:
            run.trial(trial)
    return run, known


def fan_out_progress(run: RunTracker, progress: Progress) -> Progress:
    """A progress callback that reports to the run and to `progress`."""

    def report(step: str, figures: dict[str, Any]) -> None:
        run.progress(step, figures)
        progress(step, figures)

    return report


def finish_training(stores: Stores, run: RunTracker, start: RunStart, fitted: FittedModel, release: Release) -> Run:
    """Finish a training's run with its metrics and artifacts."""
    run.keep("bundle", f"bundle:{release.model}@{release.bundle}")
    run.keep("release", f"release:{release.name}")
    for kind, artefact in start.artefacts.items():
        run.keep(kind, artefact)
    keep_environment_of(stores, run)
    if fitted.figures is not None:
        keep_figures(stores, run, fitted.figures)
    return run.finish(
        dict(fitted.metrics),
        learner=fitted.card.learner,
        parameters=dict(fitted.parameters),
        best=fitted.best,
        notes=fitted.notes,
    )


def keep_figures(stores: Stores, run: RunTracker, figures: PerUnitMetrics) -> None:
    """Store the metrics of each evaluated user or row as a sealed blob, and name the blob in the run."""
    with tempfile.TemporaryDirectory(prefix="tidemill-figures-") as place:
        folder = Path(place) / _FIGURES
        folder.mkdir()
        write_unit_metrics(figures, folder)
        sha256 = seal_bundle(folder)
        stores.blobs.put_folder(f"{_FIGURES}:{sha256}", str(folder))
    run.keep(_FIGURES, f"{_FIGURES}:{run.name.partition('#')[0]}@{sha256}")


def figures_of(stores: Stores, run: Run) -> PerUnitMetrics | str:
    """The metrics of each user or row of a run, or a sentence why there are none."""
    sha256 = run.artefacts.get(_FIGURES, "").rpartition("@")[2]
    if not sha256:
        return f"{run.name} has no metrics per user or row"
    try:
        folder = Path(stores.blobs.folder(f"{_FIGURES}:{sha256}"))
        verify_bundle(folder, sha256)
        return read_unit_metrics(folder)
    except (NoSuchBlob, ReleaseError) as error:
        return f"the metrics per user or row of {run.name} cannot be read: {error.message}"


def _left_off(stores: Stores, model: str, code: str) -> list[Run]:
    """The unfinished runs of the same code and data since the last finished one, oldest first.

    All of them, because a run that was killed while it copied earlier trials has only some. Older runs than the last
    hundred are not resumed.
    """
    same = (run for run in itertools.islice(stores.runs.newest(model), _RESUMABLE) if run.code == code)
    left = itertools.takewhile(lambda run: run.state in ("stopped", "failed"), same)
    return list(left)[::-1]
