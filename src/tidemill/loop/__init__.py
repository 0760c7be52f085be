"""What is due, and in which order? Ties the rooms into runs: the graph from signatures, increments, features, learning.

Upstream is every room from sources to governance. The command line and the console only ask here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.loop.comparison import compare_runs as compare_runs
    from tidemill.loop.fresh import refresh_champions as refresh_champions
    from tidemill.loop.fresh import standing as standing
    from tidemill.loop.graph import Graph as Graph
    from tidemill.loop.house import House as House
    from tidemill.loop.house import open_house as open_house
    from tidemill.loop.learn import learn as learn
    from tidemill.loop.mill import Mill as Mill
    from tidemill.loop.plan import plan as plan
    from tidemill.loop.project import find_project as find_project
    from tidemill.loop.project import load_mill as load_mill
    from tidemill.loop.run import run as run
    from tidemill.loop.settle import accept as accept
    from tidemill.loop.settle import replace as replace
    from tidemill.loop.status import status as status
    from tidemill.loop.workbench import Champion as Champion
    from tidemill.loop.workbench import Experiment as Experiment
    from tidemill.loop.workbench import Workbench as Workbench
    from tidemill.loop.workbench import open_project as open_project
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "comparison": "compare_runs",
            "fresh": "refresh_champions standing",
            "graph": "Graph",
            "house": "House open_house",
            "learn": "learn",
            "mill": "Mill",
            "plan": "plan",
            "project": "find_project load_mill",
            "run": "run",
            "settle": "accept replace",
            "status": "status",
            "workbench": "Champion Experiment Workbench open_project",
        },
    )
