"""The web console: live models, required actions, runs and features, read from ledger, lake and server state.

Upstream: every component, through its ledger entries. The console decides nothing; each page ends in a command to copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.console.pages.comparison_page import ComparePage as ComparePage
    from tidemill.console.pages.comparison_page import compare_page as compare_page
    from tidemill.console.pages.feature_view_page import FeatureViewPage as FeatureViewPage
    from tidemill.console.pages.feature_view_page import feature_view_page as feature_view_page
    from tidemill.console.pages.features_page import FeaturesPage as FeaturesPage
    from tidemill.console.pages.features_page import features_page as features_page
    from tidemill.console.pages.loop_page import LoopPage as LoopPage
    from tidemill.console.pages.loop_page import loop_page as loop_page
    from tidemill.console.pages.model_page import ModelPage as ModelPage
    from tidemill.console.pages.model_page import model_page as model_page
    from tidemill.console.pages.run_page import RunPage as RunPage
    from tidemill.console.pages.run_page import run_page as run_page
    from tidemill.console.pages.runs_page import RunsPage as RunsPage
    from tidemill.console.pages.runs_page import runs_page as runs_page
    from tidemill.console.state.console_stores import ConsoleStores as ConsoleStores
    from tidemill.console.web.console_app import create_app as create_app
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "pages.comparison_page": "ComparePage compare_page",
            "pages.feature_view_page": "FeatureViewPage feature_view_page",
            "pages.features_page": "FeaturesPage features_page",
            "pages.loop_page": "LoopPage loop_page",
            "pages.model_page": "ModelPage model_page",
            "pages.run_page": "RunPage run_page",
            "pages.runs_page": "RunsPage runs_page",
            "state.console_stores": "ConsoleStores",
            "web.console_app": "create_app",
        },
    )
