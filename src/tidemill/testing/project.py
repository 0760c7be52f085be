"""Project check for a project's own tests: its graph can run."""

from __future__ import annotations

from pathlib import Path

from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.project import load_mill


def check_project(project: Path, *, engine: str = "polars") -> ProjectGraph:
    """Load a project's mill.py and check its graph: names, rings, columns, types, slates. No store is opened or made.

    Gives the checked graph, with the columns of every table in `schemas`. Raises what `tidemill plan` would show.
    """
    return ProjectGraph(load_mill(project), open_port("engine", engine, project), project)
