"""README of an exported model: its outputs, inputs, quality, and how to get predictions."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.core.records.release import Release
from tidemill.core.records.signature import Signature
from tidemill.models.tabular.recipe import TabularRecipe
from tidemill.release.export_request import ExportColumn, ExportRequest

_ANSWERS = {
    "binary": "`probability`, of `{positive}`, and `label`: at {threshold:g} and above it is `{positive}`",
    "classes": "`probabilities` of {classes}, in this order, and `label`",
    "number": "the value of `{target}`",
    "count": "the expected count `{target}`",
}


def readme(release: Release, recipe: TabularRecipe, request: ExportRequest, needs: tuple[str, ...]) -> str:
    """Markdown, from the release's card and signature and the model's recipe."""
    card = release.card
    predictions = _ANSWERS[recipe.task].format(
        positive=recipe.classes[-1] if recipe.classes else "",
        threshold=recipe.threshold,
        classes=", ".join(f"`{name}`" for name in recipe.classes),
        target=recipe.target,
    )
    fields = (*release.signature.request, *recipe.inputs) if release.signature else recipe.inputs
    units = {field.name: field.unit for field in fields}
    lines = [
        f"# {release.name}",
        "",
        f"Predicts `{recipe.target}`. Each prediction is {predictions}.",
        "",
        "```",
        "pip install -r requirements.txt",
        "python predict.py --check",
        "python predict.py rows.json",
        "```",
        "",
        "`rows.json` is a list of objects with the columns below, in any order. An optional column may be left out or",
        "null. Rows without a required column are refused by its name, and so are columns that the model does not use.",
        "Times are ISO 8601 with a zone or microseconds since 1970 in UTC. From Python: `from predict import predict`;",
        'with MLflow: `mlflow.pyfunc.load_model("mlflow").predict(frame)`, which only warns of a column that it does',
        "not use.",
        "",
        "## Columns",
        "",
        "| column | type | unit | |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{one.name}` | {one.kind} | {units.get(one.name) or ''} | {_origin(release.signature, one)} |"
            for one in request.columns
        ),
        "",
        *_computed(request),
        "## Intended use",
        "",
        f"- Helps: {card.helps}",
        f"- Could harm: {card.could_harm}",
        f"- Trained by {card.learner} on {card.n_rows:,} rows.",
        *_figures(release),
        *(f"- {key.capitalize()}: {value}" for key, value in card.origin.items()),
        "",
        f"Bundle `{release.bundle}`. Checked with {', '.join(needs)}.",
        "",
    ]
    return "\n".join(lines)


def _origin(signature: Signature | None, column: ExportColumn) -> str:
    for lookup in signature.lookups if signature else ():
        if column.name in lookup.columns:
            source = f"`{lookup.columns[column.name]}` of `{lookup.view}` by `{lookup.entity}`"
            return f"required, may be null; tidemill looks it up: {source}"
    return "required" if column.required else "optional"


def _computed(request: ExportRequest) -> list[str]:
    """What the export computes itself, and what it does not use."""
    found = [
        f"- {_listed(field.name for field in one.gives)}: computed by `{one.function}` in `model/{one.file}` from "
        f"{_listed(name for name, _ in one.takes)}. Do not give them."
        for one in request.functions
    ]
    if request.event_time in {column.name for column in request.columns}:
        found.append(f"- `{request.event_time}` is the current time where it is missing.")
    if request.unused:
        found.append(f"- {_listed(request.unused)}: accepted, and not used.")
    return [*found, ""] if found else []


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _figures(release: Release) -> list[str]:
    assessment = release.card.assessment
    if assessment is None:
        return []
    return [
        f"- {score.name}: {score.model.value:.4g} ({score.model.low:.4g} to {score.model.high:.4g}), "
        f"{assessment.baseline}: {score.baseline.value:.4g}; {assessment.n_test:,} rows, {assessment.protocol}."
        for score in assessment.scores
    ]
