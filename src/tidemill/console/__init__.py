"""What is live, what needs me, and why: pages for people over the ledger, the lake and the files of the server.

Upstream: every room, through what it left in the ledger. Nothing is decided here; each page ends in a command to copy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.console.app import create_app
    from tidemill.console.comparison import ComparePage, compare_page
    from tidemill.console.feature_view import FeatureViewPage, feature_view_page
    from tidemill.console.features import FeaturesPage, features_page
    from tidemill.console.house import House
    from tidemill.console.loop import LoopPage, loop_page
    from tidemill.console.model import ModelPage, model_page
    from tidemill.console.run import RunPage, run_page
    from tidemill.console.runs import RunsPage, runs_page

__all__ = [
    "ComparePage",
    "FeatureViewPage",
    "FeaturesPage",
    "House",
    "LoopPage",
    "ModelPage",
    "RunPage",
    "RunsPage",
    "compare_page",
    "create_app",
    "feature_view_page",
    "features_page",
    "loop_page",
    "model_page",
    "run_page",
    "runs_page",
]

_HOMES = {
    "ComparePage": "comparison",
    "FeatureViewPage": "feature_view",
    "FeaturesPage": "features",
    "House": "house",
    "LoopPage": "loop",
    "ModelPage": "model",
    "RunPage": "run",
    "RunsPage": "runs",
    "compare_page": "comparison",
    "create_app": "app",
    "feature_view_page": "feature_view",
    "features_page": "features",
    "loop_page": "loop",
    "model_page": "model",
    "run_page": "run",
    "runs_page": "runs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
