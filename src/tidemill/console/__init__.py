"""What is live, what needs me, and why: pages for people over the ledger, the lake and the files of the server.

Upstream: every room, through what it left in the ledger. Nothing is decided here; each page ends in a command to copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.console.app import create_app as create_app
    from tidemill.console.comparison import ComparePage as ComparePage
    from tidemill.console.comparison import compare_page as compare_page
    from tidemill.console.feature_view import FeatureViewPage as FeatureViewPage
    from tidemill.console.feature_view import feature_view_page as feature_view_page
    from tidemill.console.features import FeaturesPage as FeaturesPage
    from tidemill.console.features import features_page as features_page
    from tidemill.console.house import House as House
    from tidemill.console.loop import LoopPage as LoopPage
    from tidemill.console.loop import loop_page as loop_page
    from tidemill.console.model import ModelPage as ModelPage
    from tidemill.console.model import model_page as model_page
    from tidemill.console.run import RunPage as RunPage
    from tidemill.console.run import run_page as run_page
    from tidemill.console.runs import RunsPage as RunsPage
    from tidemill.console.runs import runs_page as runs_page
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "app": "create_app",
            "comparison": "ComparePage compare_page",
            "feature_view": "FeatureViewPage feature_view_page",
            "features": "FeaturesPage features_page",
            "house": "House",
            "loop": "LoopPage loop_page",
            "model": "ModelPage model_page",
            "run": "RunPage run_page",
            "runs": "RunsPage runs_page",
        },
    )
