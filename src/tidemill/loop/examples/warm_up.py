"""Warm-up: examples at whose time the window of a feature view was not yet full."""

from __future__ import annotations

import numpy as np

from tidemill.core.clock import from_micros
from tidemill.features.window_evaluation import first_boundary
from tidemill.lake import LakeSnapshot
from tidemill.loop.online.view_rows import view_spec
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.model_signatures import SignatureSpec
from tidemill.models.tabular.examples import Examples

#: Share of the examples above which they are reported.
REPORTED = 0.01
_DAY_US = 86_400_000_000


def warm_up(graph: ProjectGraph, view: LakeSnapshot, asking: SignatureSpec, examples: Examples) -> tuple[str, ...]:
    """A sentence for each view whose windows reach back before its first row at more than 1% of the examples."""
    if examples.time is None:
        return ()
    said = []
    for name in dict.fromkeys(lookup.view for lookup in asking.lookups):
        features = graph.mill.features_views[name]
        if features.window_us is None or features.every_us is None:
            continue
        frames = {table: view.scan(table) for table in features.inputs}
        last = int(examples.time.max()) // features.every_us + 1
        first = first_boundary(view_spec(graph, features), frames, graph.engine, last)
        if first > last:  # no rows until the last example
            continue
        began = first * features.every_us
        full = began + features.window_us
        early = int(np.count_nonzero(examples.time < full))
        if early > REPORTED * len(examples):
            said.append(
                f"the window of `{name}` is {features.window_us / _DAY_US:g} days long and its rows begin on "
                f"{from_micros(began).date()}: it is not yet full at {early:,} of {len(examples):,} examples "
                f"({early / len(examples):.0%}), those before {from_micros(full).date()}. Leave them out, or bring in "
                "earlier rows"
            )
    return tuple(said)
