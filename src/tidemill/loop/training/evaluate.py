"""Evaluation of a model, a release or a file of ranked lists on data after its training; one flow for all families."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.core.progress import Progress, no_progress
from tidemill.loop.families.model_family import DEFAULT_OPTIONS, EvaluationOptions, EvaluationReport, family_of
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import collect_provenance
from tidemill.loop.training.run_tracking import fan_out_progress, keep_figures


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation."""

    #: The release, `the settings of mill.py`, or the file's name.
    what: str
    report: EvaluationReport
    #: The run that records the evaluation, for example `for_you#3`.
    run: str


def evaluate(
    stores: Stores,
    graph: ProjectGraph,
    name: str,
    options: EvaluationOptions = DEFAULT_OPTIONS,
    *,
    progress: Progress = no_progress,
) -> EvaluationResult:
    """Evaluate the model or release `name` (`for_you`, `churn@3`); it only adds a run to the ledger.

    Without a release of a recommender, the settings of mill.py are used. Raises `UsageError` for an option that the
    model's family does not have, and `TooLittleData`.
    """
    model, view = name.partition("@")[0], stores.lake.view()
    job = family_of(graph, model).evaluation(stores, graph, name, view, options)
    around = collect_provenance(stores.project)
    with stores.runs.begin(
        model,
        "evaluate",
        learner=job.learner,
        parameters=job.parameters,
        data=job.data,
        as_of=view.as_of,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine],
    ) as run:
        progress = fan_out_progress(run, progress)
        progress("evaluate", {"what": job.what, "rows": job.n_rows})
        report = job.measure(progress)
        for sentence in (job.what, *report.notes):
            run.note(sentence)
        keep_figures(stores, run, report.figures)
        run.finish(dict(report.metrics))
    return EvaluationResult(job.what, report, run.name)
