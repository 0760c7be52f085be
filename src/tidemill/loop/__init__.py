"""The loop: runs, trainings, refreshes and reproductions of a project, in the order of its dependency graph.

Upstream is every component from sources to governance. Only the command line and the console call this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.loop.examples.datasets import changed_code as changed_code
    from tidemill.loop.notebook.compare_runs import compare_runs as compare_runs
    from tidemill.loop.notebook.workbench import Champion as Champion
    from tidemill.loop.notebook.workbench import Experiment as Experiment
    from tidemill.loop.notebook.workbench import Workbench as Workbench
    from tidemill.loop.notebook.workbench import open_project as open_project
    from tidemill.loop.pipeline.resolve_hold import accept_hold as accept_hold
    from tidemill.loop.pipeline.resolve_hold import replace_hold as replace_hold
    from tidemill.loop.pipeline.run import run as run
    from tidemill.loop.pipeline.run_plan import plan as plan
    from tidemill.loop.project.graph import ProjectGraph as ProjectGraph
    from tidemill.loop.project.mill import Mill as Mill
    from tidemill.loop.project.project import find_project as find_project
    from tidemill.loop.project.project import load_mill as load_mill
    from tidemill.loop.project.stores import Stores as Stores
    from tidemill.loop.project.stores import open_stores as open_stores
    from tidemill.loop.refresh.refresh_models import refresh_champions as refresh_champions
    from tidemill.loop.refresh.refresh_models import refresh_status as refresh_status
    from tidemill.loop.state.code_items import write_code_items as write_code_items
    from tidemill.loop.state.project_status import status as status
    from tidemill.loop.training.evaluate import evaluate as evaluate
    from tidemill.loop.training.train import train as train
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "examples.datasets": "changed_code",
            "notebook.compare_runs": "compare_runs",
            "notebook.workbench": "Champion Experiment Workbench open_project",
            "pipeline.resolve_hold": "accept_hold replace_hold",
            "pipeline.run": "run",
            "pipeline.run_plan": "plan",
            "state.code_items": "write_code_items",
            "state.project_status": "status",
            "project.graph": "ProjectGraph",
            "project.mill": "Mill",
            "project.project": "find_project load_mill",
            "project.stores": "Stores open_stores",
            "refresh.refresh_models": "refresh_champions refresh_status",
            "training.evaluate": "evaluate",
            "training.train": "train",
        },
    )
