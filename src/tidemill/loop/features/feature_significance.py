"""Significance of the association between each feature and the target, corrected for multiple testing (Holm)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.training_examples import (
    encoded_target,
    example_frame,
    in_order,
    parts_for,
    task_of,
    with_functions,
    with_lookups,
)
from tidemill.loop.project.declarations import TabularDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.models.tabular.examples import Examples
from tidemill.training.statistics.permutation_test import holm
from tidemill.training.tabular.assess.association import association

#: Maximum number of tested examples, evenly spaced over time.
ROWS = 20_000


def examples_significance(examples: Examples) -> dict[str, float]:
    """Input -> p of the input being unrelated to the target, by Holm over all inputs, for built examples."""
    places = np.linspace(0, len(examples) - 1, min(len(examples), ROWS)).astype(np.int64)
    rows, target = examples.inputs.take(pa.array(places)), examples.target[places]
    return holm({
        field.name: association(rows[field.name], target, classes=len(examples.classes)) for field in examples.fields
    })  # fmt: skip


def significance(graph: ProjectGraph, view: LakeSnapshot, model: TabularDeclaration) -> dict[str, float]:
    """Input -> p of the input being unrelated to the target, by Holm over all inputs; features as of each example.

    Inputs are tested one by one: an input that is unrelated alone may still matter in combination with another.
    """
    spec = graph.askings[model.name]
    rows = in_order(spec, graph.engine.collect(example_frame(graph, view, spec)))
    if not rows.num_rows:
        return {}
    if rows.num_rows > ROWS:
        rows = rows.take(pa.array(np.linspace(0, rows.num_rows - 1, ROWS).astype(np.int64)))
    end = int(pc.max(rows[spec.columns.time].cast(pa.int64())).as_py()) if spec.columns.time else 0
    parts = parts_for(graph, view, spec)
    frame, _ = with_lookups(graph, view, spec, graph.engine.frame(rows), rows.schema, end=end, parts=parts)
    rows = with_functions(graph, spec, in_order(spec, graph.engine.collect(frame)))
    task, classes = task_of(model, rows[model.target], spec.columns.kinds[model.target])
    target = encoded_target(model, rows[model.target], task, classes)
    return holm({
        field.name: association(rows[field.name], target, classes=len(classes)) for field in spec.inputs
    })  # fmt: skip
