"""What is due, and in which order? Ties the rooms into runs: the graph from signatures, increments, features, learning.

Upstream is every room from sources to governance. The command line and the console only ask here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.loop.comparison import compare_runs
    from tidemill.loop.graph import Graph
    from tidemill.loop.house import House, open_house
    from tidemill.loop.learn import learn
    from tidemill.loop.mill import Mill
    from tidemill.loop.plan import plan
    from tidemill.loop.project import find_project, load_mill
    from tidemill.loop.run import run
    from tidemill.loop.settle import accept, replace
    from tidemill.loop.status import status
    from tidemill.loop.workbench import Champion, Experiment, Workbench, open_project

__all__ = [
    "Champion",
    "Experiment",
    "Graph",
    "House",
    "Mill",
    "Workbench",
    "accept",
    "compare_runs",
    "find_project",
    "learn",
    "load_mill",
    "open_house",
    "open_project",
    "plan",
    "replace",
    "run",
    "status",
]

_HOME = {
    "Champion": "workbench",
    "Experiment": "workbench",
    "Graph": "graph",
    "House": "house",
    "Mill": "mill",
    "Workbench": "workbench",
    "accept": "settle",
    "compare_runs": "comparison",
    "find_project": "project",
    "learn": "learn",
    "load_mill": "project",
    "open_house": "house",
    "open_project": "workbench",
    "plan": "plan",
    "replace": "settle",
    "run": "run",
    "status": "status",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
