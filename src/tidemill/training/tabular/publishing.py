"""Publishing a fitted object: its forms are tried in turn, and the first one that answers as itself is taken."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidemill.core.errors import NotPublishable
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.model import TabularModel
from tidemill.training.tabular.parity import Worst, failed, golden_rows, worst_of
from tidemill.training.tabular.published import Fitted


def published(fitted: Fitted, examples: Examples, name: str) -> TabularModel:
    """The first published form that answers as the fitted object itself; the error of the closest one if none does.

    Inputs that it cannot do without are no longer `optional` in the recipe. One that refuses a text that it never saw
    is `NotPublishable`: a server will meet one.
    """
    asked = golden_rows(fitted.ask, examples)
    if asked.knows_only:
        raise NotPublishable(
            f"{name} refuses a text of {', '.join(asked.knows_only)} that it never saw, and a server will meet one",
            tip="OneHotEncoder(handle_unknown='ignore'), or OrdinalEncoder(handle_unknown='use_encoded_value', …)",
        )
    worst: tuple[Worst, float] | None = None
    reasons: list[str] = []
    for form in fitted.forms:
        try:
            model = form.make()
        except NotPublishable as problem:
            reasons.append(problem.message)
            continue
        found = worst_of(model, asked.golden, examples.task, form.tolerance)
        if found.excess <= 1:
            return _needing(model, asked.needs)
        if worst is None or found.excess < worst[0].excess:
            worst = found, form.tolerance
    if worst is not None:
        raise failed(name, *worst)
    raise NotPublishable(
        f"{name} cannot be published without its pickle: {'; '.join(dict.fromkeys(reasons)) or 'no form is known'}",
        tip="take tm.auto() or a LightGBM estimator, or give the class a method export_onnx(folder) -> Path",
    )


def _needing(model: TabularModel, names: Sequence[str]) -> TabularModel:
    """The model with these inputs required."""
    if not names:
        return model
    inputs = tuple(
        msgspec.structs.replace(field, optional=False) if field.name in names else field
        for field in model.recipe.inputs
    )
    return TabularModel(msgspec.structs.replace(model.recipe, inputs=inputs), model.parts)
