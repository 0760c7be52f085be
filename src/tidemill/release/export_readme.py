"""README of an exported model: its outputs, inputs, quality, and how to get predictions."""

from __future__ import annotations

from tidemill.core.records.release import Release
from tidemill.core.records.signature import Signature
from tidemill.models.tabular.recipe import TabularRecipe

_ANSWERS = {
    "binary": "the probability of `{positive}`; at {threshold:g} and above the label is `{positive}`",
    "classes": "a list of probabilities of {classes}, in this order",
    "number": "the value of `{target}`",
    "count": "the expected count `{target}`",
}


def readme(release: Release, recipe: TabularRecipe, needs: tuple[str, ...]) -> str:
    """Markdown, from the release's card and signature and the model's recipe."""
    card = release.card
    predictions = _ANSWERS[recipe.task].format(
        positive=recipe.classes[-1] if recipe.classes else "",
        threshold=recipe.threshold,
        classes=", ".join(f"`{name}`" for name in recipe.classes),
        target=recipe.target,
    )
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
        "`rows.json` is a list of objects with the inputs below. An input that is left out or null is missing. Times",
        "are ISO 8601, or microseconds since 1970, in UTC. From Python: `from predict import predict; predict(rows)`.",
        'With MLflow: `mlflow.pyfunc.load_model("mlflow").predict(frame)`.',
        "",
        "## Inputs",
        "",
        "| input | type | unit | source when tidemill serves it |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{field.name}` | {field.kind} | {field.unit or ''} | {_origin(release.signature, field.name)} |"
            for field in recipe.inputs
        ),
        "",
        "These are the inputs of the model, after the project's feature lookups and functions. The caller has to",
        "supply what tidemill looks up or computes at request time.",
        "",
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


def _origin(signature: Signature | None, name: str) -> str:
    for lookup in signature.lookups if signature else ():
        if name in lookup.columns:
            return f"looked up: `{lookup.columns[name]}` of `{lookup.view}` by `{lookup.entity}`"
    for computed in signature.computed if signature else ():
        if name in {field.name for field in computed.gives}:
            return f"computed by `{computed.function}` from {', '.join(computed.takes)}"
    return "the request"


def _figures(release: Release) -> list[str]:
    assessment = release.card.assessment
    if assessment is None:
        return []
    return [
        f"- {score.name}: {score.model.value:.4g} ({score.model.low:.4g} to {score.model.high:.4g}), "
        f"{assessment.baseline}: {score.baseline.value:.4g}; {assessment.n_test:,} rows, {assessment.protocol}."
        for score in assessment.scores
    ]
