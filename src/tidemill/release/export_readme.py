"""The README of an exported model: what it answers, what it reads, how good it was, and how to ask it."""

from __future__ import annotations

from tidemill.core.records.release import Release
from tidemill.core.records.signature import Signature
from tidemill.models.tabular.recipe import TabularRecipe

_ANSWERS = {
    "binary": "the probability of `{positive}`; from {threshold:g} on the label is `{positive}`",
    "classes": "a list of probabilities, of {classes}, in this order",
    "number": "the value of `{target}`",
    "count": "the expected count `{target}`",
}


def readme(release: Release, recipe: TabularRecipe, needs: tuple[str, ...]) -> str:
    """Markdown, from the release's card and signature and the model's recipe."""
    card = release.card
    answers = _ANSWERS[recipe.task].format(
        positive=recipe.classes[-1] if recipe.classes else "",
        threshold=recipe.threshold,
        classes=", ".join(f"`{one}`" for one in recipe.classes),
        target=recipe.target,
    )
    lines = [
        f"# {release.name}",
        "",
        f"Predicts `{recipe.target}`: each answer is {answers}.",
        "",
        "```",
        "pip install -r requirements.txt",
        "python predict.py --check",
        "python predict.py rows.json",
        "```",
        "",
        "`rows.json` is a list of objects with the inputs below. What is left out or null is missing. Times are",
        "ISO 8601, or microseconds since 1970, in UTC. From Python: `from predict import predict; predict(rows)`.",
        'With MLflow: `mlflow.pyfunc.load_model("mlflow").predict(frame)`.',
        "",
        "## Inputs",
        "",
        "| input | kind | unit | where it comes from when tidemill serves it |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{field.name}` | {field.kind} | {field.unit or ''} | {_origin(release.signature, field.name)} |"
            for field in recipe.inputs
        ),
        "",
        "These are what the model reads, after lookups and functions of the project. What tidemill looks up or",
        "computes at answer time has to be brought here by whoever asks.",
        "",
        "## Who it is for",
        "",
        f"- Helps: {card.helps}",
        f"- Could harm: {card.could_harm}",
        f"- Learned by {card.learner} from {card.n_rows:,} rows.",
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
