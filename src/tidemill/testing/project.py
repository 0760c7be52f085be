"""Project check for a project's own tests: whether its graph can run."""

from __future__ import annotations

from pathlib import Path

from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.project import load_mill


def check_project(project: Path, *, engine: str = "polars") -> ProjectGraph:
    """Load a project's mill.py and check its graph: names, cycles, columns, types, slates. Opens no store.

    Returns the checked graph, with the columns of every table in `schemas`. Raises the errors of `tidemill plan`.
    """
    return ProjectGraph(load_mill(project), open_port("engine", engine, project), project)
