"""A project's own test that its graph can run."""

from __future__ import annotations

from pathlib import Path

from tidemill.loop.graph import Graph
from tidemill.loop.open_port import open_port
from tidemill.loop.project import load_mill


def check_project(project: Path, *, engine: str = "polars") -> Graph:
    """Load a project's mill.py and check its graph: names, rings, columns, types, slates. No store is opened or made.

    Gives the checked graph, with the columns of every table in `schemas`. Raises what `tidemill plan` would show.
    """
    return Graph(load_mill(project), open_port("engine", engine, project), project)
