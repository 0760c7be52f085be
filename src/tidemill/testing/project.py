"""Project check for a project's own tests: whether its graph can run."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.settings import load
from tidemill.loop.project.external_inputs import ExternalInputs
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.project import load_mill


def check_project(project: Path, *, engine: str = "polars") -> ProjectGraph:
    """Load a project's mill.py and check its graph: names, cycles, columns, types, slates. Opens no store.

    Of external tables it reads the columns, at the places of the default profile.
    Returns the checked graph, with the columns of every table in `schemas`. Raises the errors of `tidemill plan`.
    """
    mill = load_mill(project)
    external = ExternalInputs(mill.external_tables, project, load(project).external)
    return ProjectGraph(mill, open_port("engine", engine, project), project, external)
