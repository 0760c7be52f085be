"""A view of mill.py as the features room takes it: with the event-time column of each table that it reads."""

from __future__ import annotations

from tidemill.features.view_spec import ViewSpec
from tidemill.loop.graph import Graph
from tidemill.loop.nodes import Features


def view_spec(graph: Graph, features: Features) -> ViewSpec:
    """What `features` is made of; a table that keeps no stream's event time has none."""
    return ViewSpec(
        name=features.name,
        entity=features.entity,
        function=features.function,
        inputs=features.inputs,
        times={name: event_time(graph, name) for name in features.inputs},
        window_us=features.window_us,
        every_us=features.every_us,
        ttl_us=features.ttl_us,
        known=features.known,
    )


def event_time(graph: Graph, table: str) -> str:
    """The event-time column of a stream, table or view; empty where it keeps none of a stream that it is made from."""
    names = graph.schemas[table].names
    times = (stream.contract.event_time for stream in graph.streams_of(table))
    return next((time for time in times if time in names), "")
