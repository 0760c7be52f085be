"""Run tracking of a training: its inputs, metrics, trials and artifacts, in the ledger."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from tidemill.core.errors import NoSuchBlob, ReleaseError
from tidemill.core.ports import Lease
from tidemill.core.progress import Progress
from tidemill.core.records.quality import FEWEST_USERS, Evaluation, Metric
from tidemill.core.records.release import Release
from tidemill.core.records.runs import Run, Trial
from tidemill.lake import LakeSnapshot
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import Provenance, keep_code_of, keep_environment_of
from tidemill.models import LearnerSpec
from tidemill.models.learners.auto import Auto
from tidemill.models.learners.registry import learner_of
from tidemill.release import seal_bundle, verify_bundle
from tidemill.training import PerUnitMetrics, RunTracker, TrainResult, read_unit_metrics, write_unit_metrics

_FIGURES = "figures"


def begin_training(
    stores: Stores, model: RecommenderDeclaration, view: LakeSnapshot, code: str, around: Provenance, lease: Lease
) -> tuple[RunTracker, tuple[Trial, ...]]:
    """Begin the run of a training, and the trials of one that was killed on the way, which need not be done again.

    `code` is the fingerprint of everything that shapes the outcome: only a run of the same one is gone on with.
    """
    before = _left_off(stores, model.name, code)
    found = {trial.number: trial for run in before for trial in stores.runs.trials(run.name) if trial.state != "late"}
    known = tuple(found[number] for number in sorted(found))
    run = stores.runs.begin(
        model.name,
        _kind(model.learn),
        learner=model.learn.name,
        parameters=model.learn.told(),
        data={model.interactions: view.versions[model.interactions]},
        as_of=view.as_of,
        code=code,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine],
        lease=lease,
    )
    keep_code_of(stores, run, around)
    if known:
        run.note(f"goes on with {len(known)} trials of {', '.join(one.name for one in before)}, which came to no end")
        for trial in known:
            run.trial(trial)
    return run, known


def fan_out_progress(run: RunTracker, progress: Progress) -> Progress:
    """Tells the run's figures, and whoever else listens."""

    def told(step: str, figures: dict[str, Any]) -> None:
        run.progress(step, figures)
        progress(step, figures)

    return told


def finish_training(stores: Stores, run: RunTracker, result: TrainResult, release: Release) -> Run:
    """End a training's run with its figures, and name what it left."""
    run.keep("bundle", f"bundle:{release.model}@{release.bundle}")
    run.keep("release", f"release:{release.name}")
    keep_environment_of(stores, run)
    if result.measurement is not None:
        keep_figures(stores, run, PerUnitMetrics.from_measurement(result.measurement))
    return run.finish(
        metrics_of(result.evaluation) if result.evaluation else {},
        learner=result.learner,
        parameters=learner_of(result.learner, result.parameters).told(),
        best=result.best,
        notes=result.notes,
    )


def metrics_of(evaluation: Evaluation) -> dict[str, Metric]:
    """Its figures as a run keeps them: `hit_rate@10[warm]`, `difference hit_rate@10[warm]`, and what lists are like."""
    found: dict[str, Metric] = {}
    slices = [part for part in evaluation.slices if part.n_users >= FEWEST_USERS]
    for part in slices:
        found |= {f"{measure}[{part.users}]": metric for measure, metric in part.model.items()}
    for part in slices:
        found |= {f"difference {measure}[{part.users}]": metric for measure, metric in part.difference.items()}
    plain = {"coverage": evaluation.coverage, "novelty": evaluation.novelty, "diversity": evaluation.diversity}
    return found | {
        name: Metric(value=value, low=value, high=value) for name, value in plain.items() if value is not None
    }


def keep_figures(stores: Stores, run: RunTracker, figures: PerUnitMetrics) -> None:
    """Keep the figures of each measured user, or row, beside the bundles, sealed, and name them in the run."""
    with tempfile.TemporaryDirectory(prefix="tidemill-figures-") as place:
        folder = Path(place) / _FIGURES
        folder.mkdir()
        write_unit_metrics(figures, folder)
        sha256 = seal_bundle(folder)
        stores.blobs.put_folder(f"{_FIGURES}:{sha256}", str(folder))
    run.keep(_FIGURES, f"{_FIGURES}:{run.name.partition('#')[0]}@{sha256}")


def figures_of(stores: Stores, run: Run) -> PerUnitMetrics | str:
    """The figures of each user of a run, or a sentence that says why there are none."""
    sha256 = run.artefacts.get(_FIGURES, "").rpartition("@")[2]
    if not sha256:
        return f"{run.name} kept no figures of users"
    try:
        folder = Path(stores.blobs.folder(f"{_FIGURES}:{sha256}"))
        verify_bundle(folder, sha256)
        return read_unit_metrics(folder)
    except (NoSuchBlob, ReleaseError) as error:
        return f"the figures that {run.name} kept cannot be read: {error.message}"


def _left_off(stores: Stores, model: str, code: str) -> list[Run]:
    """The runs of the same code and data since the last one that came to its end, oldest first.

    All of them, because one that was killed while it took over the trials of the one before has only some.
    """
    same = [run for run in stores.runs.all(model) if run.code == code]
    left = itertools.takewhile(lambda run: run.state in ("stopped", "failed"), same)
    return list(left)[::-1]


def _kind(spec: LearnerSpec) -> str:
    if isinstance(spec, Auto):
        return "auto"
    return "search" if spec.searched() else "train"
